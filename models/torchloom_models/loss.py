"""Loss: how far compressed weights take a model's outputs from what its full weights give.

Gives phrases for people. Knows no kind of model, and runs none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchloom_models.backend import WeightFormat


def cosine_loss(
    weights: WeightFormat, full: NDArray[np.float32], found: NDArray[np.float32]
) -> str:
    """Compare vectors [texts, dim] by the angle between them."""
    lengths = np.linalg.norm(full, axis=1) * np.linalg.norm(found, axis=1)
    cosines = (full * found).sum(1) / np.maximum(lengths, np.finfo(np.float32).tiny)
    return (
        f"{weights} weights: cosine to full weights {cosines.mean():.5f} on average, "
        f"{cosines.min():.5f} at least, over {len(full)} texts"
    )


def difference_loss(weights: WeightFormat, full: Sequence[Tensor], found: Sequence[Tensor]) -> str:
    """Compare outputs number by number, relative to the largest number of each output."""
    differences = [
        (a.double() - b.double()).abs().flatten() / max(a.double().abs().max().item(), 1e-30)
        for a, b in zip(full, found, strict=True)
        if a.numel()
    ]
    all_of_them = torch.cat(differences) if differences else torch.zeros(1)
    return (
        f"{weights} weights: outputs differ from those of full weights by {all_of_them.mean():.1e} "
        f"of the largest on average, {all_of_them.max():.1e} at most, on random inputs"
    )


def perplexity_loss(weights: WeightFormat, full: float, found: float) -> str:
    """Compare how well a text is foreseen."""
    return (
        f"{weights} weights: perplexity {found:.3f} where full weights have {full:.3f}, on a "
        "built-in text"
    )


def shade_loss(weights: WeightFormat, full: NDArray[np.uint8], found: NDArray[np.uint8]) -> str:
    """Compare two pictures, colour by colour."""
    shades = np.abs(full.astype(np.int16) - found.astype(np.int16))
    return (
        f"{weights} weights: a picture differs from that of full weights by {shades.mean():.2f} of "
        f"256 shades on average, {shades.max()} at most"
    )


def unknown_loss(weights: WeightFormat, reason: str) -> str:
    """Say that nothing was measured, and why."""
    return f"{weights} weights: loss not measured, since {reason}"
