"""Says of each answer what the request asks for."""

from ts.utils.util import PredictionException


class Statuses:
    def initialize(self, context):
        self.seen = []

    def handle(self, data, context):
        answers = []
        for index, row in enumerate(data):
            wish = row["body"]
            if "raise" in wish:
                raise PredictionException(wish["raise"], wish.get("code", 500))
            if "memory" in wish:
                raise MemoryError("no more")
            if "cuda" in wish:
                raise RuntimeError("CUDA error: out of memory")
            if "exit" in wish:
                raise SystemExit(3)
            if "status" in wish:
                context.set_response_status(code=wish["status"], phrase=wish["phrase"], idx=index)
            if "type" in wish:
                context.set_response_content_type(index, wish["type"])
            for key, value in wish.get("headers", {}).items():
                context.set_response_header(index, key, value)
            if "object" in wish:
                answers.append(object())
            elif "header" in wish:
                answers.append(context.get_request_header(index, wish["header"]))
            else:
                answers.append(wish.get("answer"))
        if any("short" in row["body"] for row in data):
            return answers[:-1]
        if any("tuple" in row["body"] for row in data):
            return tuple(answers)
        return answers
