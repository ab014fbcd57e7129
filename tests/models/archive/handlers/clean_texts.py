"""Cleans texts as the handler with a tokenizer inside its script does."""

import torch.nn.functional as F
from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import CLEANUP_REGEX, map_class_to_label


class CleanTexts(BaseHandler):
    def preprocess(self, data):
        texts = []
        for line in data:
            text = line.get("data") or line.get("body")
            if isinstance(text, (bytes, bytearray)):
                text = text.decode("utf-8")
            texts.append(CLEANUP_REGEX.sub("", text).lower())
        return texts

    def inference(self, data, *args, **kwargs):
        return self.model(data)

    def postprocess(self, data):
        return map_class_to_label(F.softmax(data, dim=1).tolist(), self.mapping)
