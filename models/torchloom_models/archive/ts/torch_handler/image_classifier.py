"""`ts.torch_handler.image_classifier`."""

from __future__ import annotations

from typing import Any

import torch

from torchloom_models.archive.label import map_class_to_label
from torchloom_models.archive.transform import CenterCrop, Compose, Normalize, Resize, ToTensor
from torchloom_models.archive.ts.handler_utils.timer import timed
from torchloom_models.archive.ts.torch_handler.vision_handler import VisionHandler


class ImageClassifier(VisionHandler):
    """Gives the likeliest classes of each picture, with their probabilities."""

    topk = 5

    image_processing = Compose(
        [
            Resize(256),
            CenterCrop(224),
            ToTensor(),
            Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )

    def set_max_result_classes(self, topk: int) -> None:
        """Say how many classes are given."""
        self.topk = topk

    def get_max_result_classes(self) -> int:
        """Tell how many classes are given."""
        return self.topk

    @timed
    def postprocess(self, data: Any) -> Any:
        """Give probabilities by label, the likeliest first."""
        probabilities = torch.nn.functional.softmax(data, dim=1)
        most = min(self.topk, probabilities.shape[1])
        best, classes = torch.topk(probabilities, most, dim=1)
        return map_class_to_label(best.tolist(), self.mapping, classes.tolist())
