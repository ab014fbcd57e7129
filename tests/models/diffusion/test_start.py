"""Starter's tensors: noise, pictures and masks as the networks take them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from torchloom_models.diffusion.start import at_latents, at_pixels, draw_noise, to_tensor


def test_gives_colours_from_minus_one_to_one() -> None:
    """Black is -1 and white 1, channels first."""
    image = Image.fromarray(np.array([[[0, 127, 255], [255, 0, 0]]], np.uint8))

    pixels = to_tensor(image)

    assert pixels.shape == (1, 3, 1, 2)
    assert torch.allclose(pixels[0, :, 0, 0], torch.tensor([-1.0, 127 / 255 * 2 - 1, 1.0]))


def test_cuts_a_mask_in_the_middle() -> None:
    """Shades from the middle on are drawn anew, darker ones stay."""
    mask = Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8))

    assert at_pixels(mask).flatten().tolist() == [0, 0, 1, 1]


def test_takes_the_nearest_shade_at_the_size_of_latents() -> None:
    """A mask of latents holds zeros and ones alone, as in diffusers."""
    mask = Image.fromarray(np.repeat([[0, 0, 0, 255, 255, 255]], 4, axis=0).astype(np.uint8))

    assert at_latents(mask, (2, 3))[0, 0].tolist() == [[0, 0, 1]] * 2


@pytest.mark.parametrize("side", [5, 8])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_draws_the_noise_of_a_seed_in_every_dtype(dtype: torch.dtype, side: int) -> None:
    """A smaller dtype rounds the numbers of float32; torch's own may be others altogether."""
    drawn, smaller = (
        draw_noise((1, 4, side, side), torch.Generator().manual_seed(1), each)
        for each in (torch.float32, dtype)
    )

    assert smaller.dtype == dtype
    assert torch.equal(smaller, drawn.to(dtype))
