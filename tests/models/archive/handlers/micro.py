"""Parts of a batch side by side."""

import logging

from ts.handler_utils.micro_batching import MicroBatching
from ts.torch_handler.base_handler import BaseHandler

logger = logging.getLogger(__name__)


class MicroHandler(BaseHandler):
    def __init__(self):
        super().__init__()
        self.handle = MicroBatching(self)

    def initialize(self, ctx):
        config = ctx.model_yaml_config["micro_batching"]
        logger.info("parallelism %s", config["parallelism"])
        self.handle.parallelism = config["parallelism"]
        self.handle.micro_batch_size = config["micro_batch_size"]

    def preprocess(self, data):
        return [row["body"] for row in data]

    def inference(self, data):
        return [(len(data), value * 2) for value in data]

    def postprocess(self, data):
        return data
