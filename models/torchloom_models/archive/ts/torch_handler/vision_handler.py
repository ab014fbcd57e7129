"""`ts.torch_handler.vision_handler`: what handlers of pictures are made from."""

from __future__ import annotations

import base64
import io
from abc import ABC
from typing import Any

import torch
from PIL import Image

from torchloom_models.archive.insight import PICTURE_STEPS, open_gradients
from torchloom_models.archive.transform import Compose
from torchloom_models.archive.ts.handler_utils.timer import timed
from torchloom_models.archive.ts.torch_handler.base_handler import BaseHandler


class VisionHandler(BaseHandler, ABC):
    """Makes tensors of pictures by `image_processing`, which each handler brings along."""

    image_processing: Any

    def initialize(self, context: Any) -> None:
        """Open the weights; where captum is installed, explanations can be given."""
        super().initialize(context)
        self.ig: Any = None
        if not context.system_properties.get("limit_max_image_pixels", True):
            Image.MAX_IMAGE_PIXELS = None

    @timed
    def preprocess(self, data: Any) -> Any:
        """Give one tensor of all pictures: files, their base64, or nested lists of numbers."""
        return torch.stack([self._to_tensor(row) for row in data]).to(self.device)

    def _to_tensor(self, row: Any) -> Any:
        picture = row.get("data")
        picture = row.get("body") if picture is None else picture
        if isinstance(picture, str):
            picture = base64.b64decode(picture)
        if isinstance(picture, bytes | bytearray):
            with Image.open(io.BytesIO(picture)) as opened:
                return self.image_processing(self._in_colour(opened))
        return torch.tensor(picture, dtype=torch.float32)

    def _in_colour(self, opened: Image.Image) -> Image.Image:
        """Give what the steps take: ours three colours, a handler's own the picture as it is."""
        return opened.convert("RGB") if isinstance(self.image_processing, Compose) else opened

    def get_insights(self, tensor_data: Any, _: Any, target: Any = 0) -> Any:
        """Give the share of each number of the picture in the answer (integrated gradients)."""
        if self.ig is None:
            self.ig = open_gradients(self.model)
        attributions = self.ig.attribute(tensor_data, target=target, n_steps=PICTURE_STEPS)
        return attributions.tolist()
