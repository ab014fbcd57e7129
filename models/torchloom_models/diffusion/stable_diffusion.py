"""Stable Diffusion 1 and 2, and what was distilled from them: LCM, turbo. A UNet, and CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchloom.errors import ModelLoadError
from torchloom_models.diffusion.clip import ClipLast, load_clip
from torchloom_models.diffusion.folder import PipelineFolder
from torchloom_models.diffusion.guidance import embed_guidance
from torchloom_models.diffusion.request import PictureRequest
from torchloom_models.diffusion.text import Text
from torchloom_models.diffusion.traits import Traits
from torchloom_models.diffusion.vae import latent_factor, load_vae


class StableDiffusion:
    """A UNet whose one condition is the text; distilled ones take their guidance as a number."""

    def __init__(self, folder: PipelineFolder, *, dtype: torch.dtype, place: str) -> None:
        unet = folder.load_network("unet", ("UNet2DConditionModel",), dtype=dtype, place=place)
        self.dtype = dtype
        self.vae = load_vae(folder, dtype=dtype, place=place)
        self.towers = [load_clip(folder, "", ClipLast, dtype=dtype, place=place)]
        self._guidance_size = cast("int | None", cast("Any", unet).config.time_cond_proj_dim)
        self.denoiser = UnetStep(unet) if self._guidance_size is None else GuidedUnetStep(unet)
        self.traits = unet_traits(folder, unet, self.vae)

    def join(self, outputs: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Give the last hidden states [texts, length, width]."""
        return outputs[0]

    def conditions(self, text: Text, request: PictureRequest) -> tuple[Tensor, ...]:
        """Give the text, and the guidance where the network takes it."""
        if self._guidance_size is None:
            return text
        guidance = embed_guidance(request.guidance - 1, self._guidance_size)
        return (*text, guidance.to(text[0]))

    def schedule_options(self, request: PictureRequest) -> Mapping[str, object]:
        """Add nothing."""
        del request
        return {}


class UnetStep(nn.Module):
    """A UNet with text as its condition."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """Predict."""
        output = self.unet(latents, timesteps, encoder_hidden_states=text, return_dict=False)
        return cast("Tensor", output[0])


class GuidedUnetStep(nn.Module):
    """A UNet that was distilled to take guidance as an embedding."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents: Tensor, timesteps: Tensor, text: Tensor, guidance: Tensor) -> Tensor:
        """Predict."""
        output = self.unet(
            latents,
            timesteps,
            encoder_hidden_states=text,
            timestep_cond=guidance,
            return_dict=False,
        )
        return cast("Tensor", output[0])


def unet_traits(folder: PipelineFolder, unet: nn.Module, vae: nn.Module) -> Traits:
    """Read sizes from the configurations; steps and guidance are diffusers' own defaults.

    A folder whose scheduler is LCM's needs few steps, and guides through the network or not at all.
    """
    config: Any = unet.config
    size = config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    factor = latent_factor(vae)
    channels = int(cast("Any", vae).config.latent_channels)
    fills_masks = config.in_channels == 2 * channels + 1
    if config.in_channels != channels and not fills_masks:
        message = (
            f"The {folder.pipeline} in {str(folder.path)!r} takes {config.in_channels} channels "
            f"where its latents have {channels}: of networks with more input, only those that fill "
            f"masks are served ({2 * channels + 1} channels)."
        )
        raise ModelLoadError(message)
    is_guided = config.time_cond_proj_dim is not None
    is_lcm = is_guided or folder.scheduler_class == "LCMScheduler"
    return Traits(
        pipeline=folder.pipeline,
        num_steps=4 if is_lcm else 50,
        guidance=8.5 if is_guided else 1.0 if is_lcm else 7.5,
        height=height * factor,
        width=width * factor,
        size_multiple=factor,
        latent_factor=factor,
        latent_channels=channels,
        guidance_way="input" if is_guided else "rows",
        can_start_from_image=True,
        fills_masks=fills_masks,
    )
