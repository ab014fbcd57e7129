"""`ts.torch_handler.object_detector`."""

from __future__ import annotations

from typing import Any

import torch

from torchloom_models.archive.transform import Compose, ToTensor
from torchloom_models.archive.ts.handler_utils.timer import timed
from torchloom_models.archive.ts.torch_handler.vision_handler import VisionHandler


class ObjectDetector(VisionHandler):
    """Gives boxes around things, with their labels, for models as torchvision's detectors are."""

    threshold = 0.5

    image_processing = Compose([ToTensor()])

    @timed
    def preprocess(self, data: Any) -> Any:
        """Give a tensor for each picture: they need not be of one size."""
        return [self._to_tensor(row).to(self.device) for row in data]

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the model on all pictures."""
        with torch.inference_mode():
            return self.model([each.to(self.device) for each in data], *args, **kwargs)

    @timed
    def postprocess(self, data: Any) -> Any:
        """Give each picture's boxes that are likely enough."""
        return [self._to_boxes(found) for found in data]

    def _to_boxes(self, found: Any) -> list[dict[str, Any]]:
        names = self.mapping or {}
        likely = found["scores"] >= self.threshold
        boxes = zip(
            found["boxes"][likely].tolist(),
            found["labels"][likely].tolist(),
            found["scores"][likely].tolist(),
            strict=True,
        )
        return [
            {names.get(str(label), str(label)): box, "score": score} for box, label, score in boxes
        ]
