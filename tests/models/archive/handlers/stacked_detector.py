"""A detector whose model takes one tensor of all pictures and gives objects of its own."""

from collections import Counter

import torch
from toy_yolo import YOLO
from ts.torch_handler.object_detector import ObjectDetector


class StackedDetector(ObjectDetector):
    def initialize(self, context):
        self.device = torch.device("cpu")
        self.manifest = context.manifest
        self.model = self._load_torchscript_model(context.system_properties.get("model_dir"))
        self.initialized = True

    def _load_torchscript_model(self, model_pt_path):
        model = YOLO(model_pt_path)
        model.to(self.device)
        return model

    def postprocess(self, res):
        return [dict(Counter(data.names[int(each)] for each in data.classes)) for data in res]
