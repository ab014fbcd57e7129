"""The tiny Stable Diffusion's autoencoder: 64x64 pixels to 4x16x16 latents and back.

Owns its size, its training and its score. Knows nothing of prompts.
"""

from __future__ import annotations

from random import Random

import torch
from diffusers import AutoencoderKL

from .checker import check
from .drawer import SIDE
from .gallery import draw_nudged, make_scene, to_pictures, to_pixels
from .schedule import TELL_EVERY, Clock, cosine
from .stencil import Stencils


#: Pictures scored at once.
SCORED_AT_ONCE = 50
#: Crowded drawings teach more than mostly empty ones.
MAX_FIGURES = 5
RATE = 2e-3
#: Keeps latents near a normal spread; reconstruction counts far more.
KL_WEIGHT = 1e-7
#: How much more a figure's pixel counts than one of the background, which is most of a picture.
FIGURE_WEIGHT = 5.0
#: Drawings whose latents' spread is measured.
NUM_SCALED = 256


def make_autoencoder() -> AutoencoderKL:
    """Make the untrained model."""
    return AutoencoderKL(
        sample_size=SIDE,
        latent_channels=4,
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
    )


def train_autoencoder(
    autoencoder: AutoencoderKL, stencils: Stencils, clock: Clock, *, seed: int, batch_size: int
) -> None:
    """Train on drawings by the clock, then set the scaling factor to the latents' spread."""
    random, device = Random(f"autoencoder {seed}"), stencils.masks.device
    autoencoder.to(device).train()
    parameters = list(autoencoder.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.98), fused=True)
    while clock.tick():
        optimizer.param_groups[0]["lr"] = RATE * cosine(clock.done)
        pixels = _draw(stencils, random, batch_size)
        with torch.autocast(device.type, torch.bfloat16):
            spread = autoencoder.encode(pixels).latent_dist
            written = autoencoder.decode(spread.sample()).sample
        loss = _error(written.float(), pixels) + KL_WEIGHT * spread.kl().float().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if clock.step % TELL_EVERY == 0:
            clock.tell(loss.item())
    autoencoder.eval()
    _scale(autoencoder, _draw(stencils, random, NUM_SCALED))


@torch.no_grad()
def encode(autoencoder: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Give the scaled latents [n, 4, 16, 16] of pixels [n, 3, 64, 64]."""
    return autoencoder.encode(pixels).latent_dist.mean * autoencoder.config.scaling_factor


@torch.no_grad()
def score_autoencoder(
    autoencoder: AutoencoderKL, *, num_scenes: int, seed: int, device: torch.device
) -> dict[str, float]:
    """Give the shares of held-out drawings whose colours and shapes survive the way through."""
    random = Random(f"reconstruction {seed}")
    scenes = [make_scene(random, held_out=True) for _ in range(num_scenes)]
    verdicts = []
    for start in range(0, num_scenes, SCORED_AT_ONCE):
        some = scenes[start : start + SCORED_AT_ONCE]
        pixels = to_pixels([draw_nudged(scene, random) for scene in some]).to(device)
        written = autoencoder.decode(autoencoder.encode(pixels).latent_dist.mean).sample
        verdicts += [check(*pair) for pair in zip(to_pictures(written), some, strict=True)]
    return {
        "colours_kept": sum(verdict.colours_right for verdict in verdicts) / num_scenes,
        "shapes_kept": sum(verdict.shapes_right for verdict in verdicts) / num_scenes,
    }


@torch.no_grad()
def _scale(autoencoder: AutoencoderKL, pixels: torch.Tensor) -> None:
    latents = autoencoder.encode(pixels).latent_dist.mean
    autoencoder.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))


def _error(written: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Give the mean absolute and squared error; the pixel in the corner is always background."""
    in_figure = (pixels != pixels[..., :1, :1]).any(dim=1, keepdim=True)
    error = written - pixels
    return ((error.abs() + error.square()) * torch.where(in_figure, FIGURE_WEIGHT, 1.0)).mean()


def _draw(stencils: Stencils, random: Random, num_scenes: int) -> torch.Tensor:
    scenes = [make_scene(random, max_figures=MAX_FIGURES) for _ in range(num_scenes)]
    return stencils.draw(scenes, random)
