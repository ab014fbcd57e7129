"""A handler as users write them: one class, with state, that tells what it was given."""

import os

from ts.context import Context

from models import shout  # the archive's own package, called as many call theirs


class EchoHandler:
    """Answers with what came in."""

    def __init__(self):
        self.initialized = False
        self.prefix = ""

    def initialize(self, context: Context):
        properties = context.system_properties
        self.prefix = context.manifest["model"]["modelName"]
        self.model_dir = properties.get("model_dir")
        self.initialized = True

    def handle(self, data, context):
        answers = []
        for row in data:
            body = row.get("data") or row.get("body")
            if isinstance(body, (bytes, bytearray)):
                body = body.decode("utf-8")
            if isinstance(body, str) and body.startswith("fail"):
                raise ValueError("this row is asked to fail")
            answers.append(
                {
                    "prefix": shout(self.prefix),
                    "body": body,
                    "batch": len(data),
                    "cwd": os.path.samefile(os.getcwd(), self.model_dir),
                }
            )
        return answers
