"""Transforms of pictures, as torchvision has them and without it: PIL pictures become tensors.

Each gives what torchvision's of the same name gives for PIL pictures (its documentation, v0.20).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[..., object]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, picture: object) -> object:
        """Apply all."""
        for transform in self.transforms:
            picture = transform(picture)
        return picture


class Resize:
    """Scales the shorter side to `size`, bilinear, the other one in proportion, rounded down."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, picture: Image.Image) -> Image.Image:
        """Scale it."""
        width, height = picture.size
        short, long = sorted((width, height))
        if short == self.size:
            return picture
        other = int(self.size * long / short)
        size = (self.size, other) if width <= height else (other, self.size)
        return picture.resize(size, Image.Resampling.BILINEAR)


class CenterCrop:
    """Cuts the middle out, padded with black where it is smaller."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, picture: Image.Image) -> Image.Image:
        """Cut it."""
        width, height = picture.size
        missing = [max(self.size - each, 0) for each in (width, height)]
        if any(missing):
            padded = [width + missing[0], height + missing[1]]
            canvas = Image.new(picture.mode, (padded[0], padded[1]))
            canvas.paste(picture, (missing[0] // 2, missing[1] // 2))
            picture, (width, height) = canvas, canvas.size
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        return picture.crop((left, top, left + self.size, top + self.size))


class ToTensor:
    """[channels, height, width], float32 from 0 to 1."""

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        """Make a tensor of it."""
        array = np.array(picture, np.uint8, copy=True)
        if array.ndim == 2:  # noqa: PLR2004 - no dimension of channels
            array = array[:, :, None]
        return torch.from_numpy(array).permute(2, 0, 1).contiguous().to(torch.float32).div(255)


class Normalize:
    """Takes the mean of each channel away and divides by its deviation."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean = torch.tensor(mean, dtype=torch.float32)[:, None, None]
        self.std = torch.tensor(std, dtype=torch.float32)[:, None, None]

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """Normalise it."""
        return (tensor - self.mean).div(self.std)
