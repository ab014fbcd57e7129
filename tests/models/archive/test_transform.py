"""Transforms of pictures, against torchvision's documented results."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from torchloom_models.archive.transform import CenterCrop, Compose, Normalize, Resize, ToTensor


def picture(width: int, height: int) -> Image.Image:
    """Make a picture whose pixels tell where they are."""
    rows = np.arange(height)[:, None] * np.ones(width)[None]
    columns = np.ones(height)[:, None] * np.arange(width)[None]
    array = np.stack([rows, columns, rows + columns], axis=-1) % 256
    return Image.fromarray(array.astype(np.uint8), "RGB")


@pytest.mark.parametrize(
    ("size", "scaled"),
    [
        ((640, 480), (341, 256)),
        ((480, 640), (256, 341)),
        ((100, 100), (256, 256)),
        ((256, 999), (256, 999)),
        ((333, 500), (256, 384)),
    ],
)
def test_scales_the_shorter_side(size: tuple[int, int], scaled: tuple[int, int]) -> None:
    """The longer one follows, rounded down."""
    assert Resize(256)(picture(*size)).size == scaled


@pytest.mark.parametrize(
    ("size", "first"), [((341, 256), (58, 16)), ((256, 341), (16, 58)), ((225, 226), (0, 1))]
)
def test_cuts_the_middle(size: tuple[int, int], first: tuple[int, int]) -> None:
    """The first pixel is that of torchvision: halves are rounded to the even number."""
    cut = np.asarray(CenterCrop(224)(picture(*size)))

    assert cut.shape == (224, 224, 3)
    column, row = first
    assert cut[0, 0].tolist() == [row, column, row + column]


def test_pads_what_is_too_small() -> None:
    """Black goes around it."""
    cut = np.asarray(CenterCrop(4)(Image.new("RGB", (2, 2), (9, 9, 9))))

    assert cut[:, :, 0].tolist() == [[0, 0, 0, 0], [0, 9, 9, 0], [0, 9, 9, 0], [0, 0, 0, 0]]


def test_makes_a_tensor_of_channels_first() -> None:
    """Numbers go from 0 to 1; a grey picture has one channel."""
    tensor = ToTensor()(picture(3, 2))

    assert tensor.shape == (3, 2, 3)
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor[1, 0], torch.tensor([0.0, 1.0, 2.0]) / 255)
    assert ToTensor()(Image.new("L", (3, 2))).shape == (1, 2, 3)


def test_normalises_each_channel() -> None:
    """One transform after the other."""
    whole = Compose([ToTensor(), Normalize([0.5, 0.5, 0.5], [0.5, 0.25, 1.0])])
    given = whole(Image.new("RGB", (1, 1), (255, 255, 0)))

    assert isinstance(given, torch.Tensor)
    assert given.flatten().tolist() == [1.0, 2.0, -0.5]
