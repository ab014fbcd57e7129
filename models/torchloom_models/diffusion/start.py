"""Starter: the first latents of a picture, of noise, of an image, and of what a mask leaves of it.

All that is random is drawn in the order of diffusers' pipelines: image, noise, masked image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchloom_models.diffusion.picture import Picture
from torchloom_models.diffusion.traits import Traits
from torchloom_models.diffusion.vae import VaeEncoder


class Starter:
    """Knows the encoder, and how large the latents are."""

    def __init__(
        self, encoder: VaeEncoder, traits: Traits, *, dtype: torch.dtype, device: str
    ) -> None:
        self._encoder = encoder
        self._traits = traits
        self._dtype = dtype
        self._device = device

    def start(self, picture: Picture) -> None:
        """Give a new picture its latents."""
        request, fills_masks = picture.request, self._traits.fills_masks
        image = mask = None
        # A network that fills masks sees the image beside the latents, and starts from noise.
        if request.image is not None and not (fills_masks and request.strength == 1.0):
            image = self._encode(to_tensor(request.image), picture.generator)
        factor = self._traits.latent_factor
        size = (request.height // factor, request.width // factor)
        shape = (1, self._traits.latent_channels, *size)
        noise = draw_noise(shape, picture.generator, self._dtype)
        if request.mask is not None:
            mask = at_latents(request.mask, size).to(self._device, self._dtype)
        picture.begin(noise.to(self._device), image, None if fills_masks else mask)
        if fills_masks and request.image is not None and request.mask is not None:
            assert mask is not None, "it was made above"
            kept = to_tensor(request.image) * (at_pixels(request.mask) < 0.5)  # noqa: PLR2004 - half
            picture.beside = torch.cat([mask, self._encode(kept, picture.generator)], dim=1)

    def _encode(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        moments = self._encoder(pixels.to(self._device))
        return self._encoder.sample(moments, generator).to(self._dtype)


def draw_noise(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Draw noise on the CPU, in float32 and then rounded: a seed is one picture in every dtype.

    Asked for a smaller dtype, torch 2.11 draws other numbers altogether, and 2.13 other last ones.
    """
    return torch.randn(tuple(shape), generator=generator).to(dtype)


def to_tensor(image: Image.Image) -> Tensor:
    """Give an RGB picture as [1, 3, height, width] of -1 to 1."""
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0)
    return pixels.permute(2, 0, 1)[None] * 2.0 - 1.0


def at_pixels(mask: Image.Image) -> Tensor:
    """Give a grey mask as [1, 1, height, width] of zeros and ones."""
    shades = torch.from_numpy(np.asarray(mask, dtype=np.float32) / 255.0)[None, None]
    return (shades >= 0.5).float()  # noqa: PLR2004 - half


def at_latents(mask: Image.Image, size: tuple[int, int]) -> Tensor:
    """Give a grey mask as [1, 1, h, w] of zeros and ones, at the size of latents."""
    return torch.nn.functional.interpolate(at_pixels(mask), size=size)
