"""What is said of compressed weights."""

from __future__ import annotations

import numpy as np
import torch

from torchloom_models.loss import (
    cosine_loss,
    difference_loss,
    perplexity_loss,
    shade_loss,
    unknown_loss,
)


def test_tells_the_angle_between_vectors() -> None:
    """Average and worst, whatever the vectors' lengths."""
    full = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    found = np.array([[3.0, 4.0], [0.0, 1.0]], np.float32)

    assert cosine_loss("int8", full, found) == (
        "int8 weights: cosine to full weights 0.80000 on average, 0.60000 at least, over 2 texts"
    )


def test_tells_differences_relative_to_each_outputs_largest_number() -> None:
    """Average and worst over all outputs; one that is empty or zero does no harm."""
    full = [torch.tensor([10.0, -5.0]), torch.tensor([2, 0]), torch.zeros(1), torch.zeros(0)]
    found = [torch.tensor([9.0, -5.0]), torch.tensor([1, 0]), torch.zeros(1), torch.zeros(0)]

    text = difference_loss("int4", full, found)

    assert "by 1.2e-01 of the largest on average, 5.0e-01 at most" in text


def test_tells_perplexities() -> None:
    """Both, so that a loss is seen beside what there was to lose."""
    assert "perplexity 12.500 where full weights have 12.000" in perplexity_loss("int8", 12, 12.5)


def test_tells_shades_between_pictures() -> None:
    """Average and worst, whichever of the two is the brighter."""
    full = np.array([[[0, 255, 10]]], np.uint8)
    found = np.array([[[255, 255, 4]]], np.uint8)

    assert shade_loss("int4", full, found) == (
        "int4 weights: a picture differs from that of full weights by 87.00 of 256 shades on "
        "average, 255 at most"
    )


def test_says_why_nothing_was_measured() -> None:
    """A loss that nobody knows is not passed over."""
    assert unknown_loss("int8", "it rains") == "int8 weights: loss not measured, since it rains"
