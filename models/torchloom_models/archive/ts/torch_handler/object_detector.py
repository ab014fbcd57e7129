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
        """Give one tensor of all pictures; where they are not of one size, a list of tensors."""
        pictures = [self._to_tensor(row).to(self.device) for row in data]
        sizes = {each.shape for each in pictures}
        return torch.stack(pictures) if len(sizes) == 1 else pictures

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the model on all pictures."""
        pictures = [each.to(self.device) for each in data] if isinstance(data, list) else data
        if _takes_list(self.model):
            pictures = list(pictures)
        with torch.inference_mode():
            return self.model(pictures, *args, **kwargs)

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


def _takes_list(model: Any) -> bool:
    """Tell whether a script says that it takes a list, as torchvision's do; one tensor is none."""
    if not isinstance(model, torch.jit.ScriptModule):
        return False
    forward: Any = model.forward
    arguments = forward.schema.arguments
    return len(arguments) > 1 and arguments[1].type.kind() == "ListType"
