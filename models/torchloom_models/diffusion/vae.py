"""The two halves of a variational autoencoder as modules of tensors: pictures to latents and back.

Knows no prompt and no step.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from torchloom_models.diffusion.folder import PipelineFolder


def load_vae(folder: PipelineFolder, *, dtype: torch.dtype, place: str) -> nn.Module:
    """Load the component `vae`. One that overflows in float16 says so, and is float32 then."""
    vae = folder.load_network("vae", ("AutoencoderKL",), dtype=dtype, place=place)
    if dtype == torch.float16 and _config(vae).force_upcast:
        return folder.load_network("vae", ("AutoencoderKL",), dtype=torch.float32, place=place)
    return vae


def latent_factor(vae: nn.Module) -> int:
    """Give how many pixels a latent is wide."""
    return int(2 ** (len(_config(vae).block_out_channels) - 1))


class VaeDecoder(nn.Module):
    """Turns latents [n, channels, h, w] into pictures [n, 3, height, width] of 0 to 1."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae
        self.scale = _LatentScale(vae)
        self.dtype = cast("torch.dtype", vae.dtype)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode."""
        latents = self.scale.undone(latents).to(self.dtype)
        pixels = cast("Any", self.vae).decode(latents, return_dict=False)[0]
        return cast("Tensor", (pixels / 2 + 0.5).clamp(0, 1))


class VaeEncoder(nn.Module):
    """Turns pictures [n, 3, height, width] of -1 to 1 into moments [n, 2 channels, h, w]."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae
        self.scale = _LatentScale(vae)
        self.dtype = cast("torch.dtype", vae.dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode."""
        posterior = cast("Any", self.vae).encode(pixels.to(self.dtype), return_dict=False)[0]
        return cast("Tensor", posterior.parameters)

    def sample(self, moments: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw latents from one picture's moments; without a generator, the likeliest ones."""
        posterior = DiagonalGaussianDistribution(moments)
        latents = posterior.mean if generator is None else posterior.sample(generator)
        return self.scale.done(latents)


class _LatentScale:
    """How latents are scaled for the denoising network: the configuration says it."""

    def __init__(self, vae: nn.Module) -> None:
        config = _config(vae)
        self._factor = float(config.scaling_factor)
        self._shift = float(getattr(config, "shift_factor", None) or 0.0)
        mean, deviation = (
            getattr(config, "latents_mean", None),
            getattr(config, "latents_std", None),
        )
        self._mean = _column(mean) if mean is not None and deviation is not None else None
        self._deviation = _column(deviation) if self._mean is not None else None

    def done(self, latents: Tensor) -> Tensor:
        if self._mean is None or self._deviation is None:
            return (latents - self._shift) * self._factor
        mean, deviation = self._mean.to(latents), self._deviation.to(latents)
        return (latents - mean) * self._factor / deviation

    def undone(self, latents: Tensor) -> Tensor:
        if self._mean is None or self._deviation is None:
            return latents / self._factor + self._shift
        mean, deviation = self._mean.to(latents), self._deviation.to(latents)
        return latents * deviation / self._factor + mean


def _column(values: Any) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


def _config(module: nn.Module) -> Any:
    return cast("Any", module).config
