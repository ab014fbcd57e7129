"""Lists of numbers in, lists of numbers out: BaseHandler as it is."""

from ts.torch_handler.base_handler import BaseHandler


class Numbers(BaseHandler):
    def describe_handle(self):
        return {"inputs": "lists of numbers"}

    def get_insights(self, tensor_data, inputs, target):
        return [{"target": target, "sum": float(tensor_data.sum())}]
