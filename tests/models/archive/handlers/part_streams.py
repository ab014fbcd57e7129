"""Streams to each part of a batch by itself, as handlers for compiled batch sizes do."""

from ts.handler_utils.micro_batching import MicroBatching
from ts.handler_utils.utils import send_intermediate_predict_response
from ts.torch_handler.base_handler import BaseHandler


class PartStreams(BaseHandler):
    def __init__(self):
        super().__init__()
        self.handle = MicroBatching(self)

    def initialize(self, ctx):
        section = ctx.model_yaml_config.get("micro_batching", {})
        if section.get("parallelism"):
            self.handle.parallelism = section["parallelism"]
        self.handle.micro_batch_size = section.get("micro_batch_size", 1)
        self.initialized = True

    def preprocess(self, requests):
        texts = [row.get("data") or row.get("body") for row in requests]
        return texts + [""] * (self.handle.micro_batch_size - len(texts))

    def inference(self, texts):
        size = self.handle.micro_batch_size
        first = self.handle.get_micro_batch_idx() * size
        ids = self.context.request_ids
        mine = {i: ids[first + i] for i in range(size) if first + i in ids}
        for word in ("one", "two"):
            pieces = [f"{text}:{word} " for text in texts][: len(mine)]
            send_intermediate_predict_response(pieces, mine, "ok", 200, self.context)
        return [""] * len(mine)

    def postprocess(self, outputs):
        return outputs

    def describe_handle(self):
        return {"parts": self.handle.micro_batch_size}

    def get_insights(self, ready, text, target):
        return [{"text": text, "target": target}]
