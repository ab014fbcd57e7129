"""Previewer: latents as colours, at a price of nothing: one matrix in place of a decoder.

What a latent shows is close to linear in it. The matrix is fitted when the model is opened, on
patches of colour that the model's own encoder turns to latents. Knows no picture and no step.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchloom_models.diffusion.vae import VaeEncoder


#: Patches of one colour in a row of the pictures that are fitted on, and latents in a patch.
_PATCHES, _LATENTS = 4, 4

_PICTURES = 4


class Previewer:
    """Turns latents [1, channels, h, w] into pixels [h, w, 3]: `matrix` is [channels + 1, 3]."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix

    @classmethod
    def fit(cls, encoder: VaeEncoder, factor: int, device: str) -> Previewer:
        """Fit the matrix by least squares; a latent is `factor` pixels wide."""
        colours = torch.rand(
            (_PICTURES, 3, _PATCHES, _PATCHES), generator=torch.Generator().manual_seed(0)
        )
        shades = _enlarged(colours, _LATENTS)
        with torch.inference_mode():
            moments = encoder(_enlarged(shades * 2 - 1, factor).to(device))
            latents = encoder.sample(moments, None).float().cpu()
            matrix = torch.linalg.lstsq(_rows(latents), _columns(shades)).solution
        return cls(matrix)

    def show(self, latents: Tensor) -> NDArray[np.uint8]:
        """Give the pixels that the latents stand for, roughly."""
        height, width = latents.shape[2:]
        shades = (_rows(latents.float().cpu()) @ self._matrix).clamp(0, 1)
        pixels: NDArray[np.float32] = shades.view(height, width, 3).numpy()
        return (pixels * 255).round().astype(np.uint8)


def _enlarged(images: Tensor, times: int) -> Tensor:
    return images.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)


def _columns(images: Tensor) -> Tensor:
    """Give images [n, channels, h, w] as [n h w, channels]."""
    return images.permute(0, 2, 3, 1).flatten(0, 2)


def _rows(latents: Tensor) -> Tensor:
    """Give latents as rows with a one at the end, for what is there without any latent."""
    rows = _columns(latents)
    return torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
