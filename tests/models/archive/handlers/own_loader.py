"""Loads its model by itself, as handlers around models of torchvision do."""

import importlib
import os

import torch
from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import list_classes_from_module


class OwnLoader(BaseHandler):
    def _load_pickled_model(self, model_dir, model_file, model_pt_path):
        if not os.path.isfile(os.path.join(model_dir, model_file)):
            raise RuntimeError("no model file")
        module = importlib.import_module(model_file.split(".")[0])
        (model_class,) = list_classes_from_module(module)
        model = model_class()
        model.load_state_dict(torch.load(model_pt_path))
        return model

    def _load_torchscript_model(self, model_pt_path):
        model = torch.jit.load(model_pt_path)
        return model

    def preprocess(self, data):
        return torch.tensor([row.get("data") or row.get("body") for row in data])
