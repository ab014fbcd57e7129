"""`ts.torch_handler.image_segmenter`."""

from __future__ import annotations

from typing import Any

import torch

from torchloom_models.archive.transform import CenterCrop, Compose, Normalize, Resize, ToTensor
from torchloom_models.archive.ts.handler_utils.timer import timed
from torchloom_models.archive.ts.torch_handler.vision_handler import VisionHandler


class ImageSegmenter(VisionHandler):
    """Gives the likeliest class of each pixel, with its probability."""

    image_processing = Compose(
        [
            Resize(256),
            CenterCrop(224),
            ToTensor(),
            Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Give a score for each class and pixel; models of torchvision have it under `out`."""
        with torch.inference_mode():
            given = self.model(data.to(self.device), *args, **kwargs)
        return given["out"] if isinstance(given, dict) else given

    @timed
    def postprocess(self, data: Any) -> Any:
        """Give [height][width][class, probability] for each picture."""
        probabilities, classes = torch.nn.functional.softmax(data, dim=1).max(dim=1)
        return torch.stack([classes.to(probabilities.dtype), probabilities], dim=-1).tolist()
