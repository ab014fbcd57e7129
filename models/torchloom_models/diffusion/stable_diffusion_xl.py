"""Stable Diffusion XL, its turbo and LCM forms: a UNet that reads two text encoders and sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchloom_models.diffusion.clip import ClipPenultimate, load_clip
from torchloom_models.diffusion.folder import PipelineFolder
from torchloom_models.diffusion.guidance import embed_guidance
from torchloom_models.diffusion.request import PictureRequest
from torchloom_models.diffusion.stable_diffusion import unet_traits
from torchloom_models.diffusion.text import Text
from torchloom_models.diffusion.vae import load_vae


#: diffusers' own guidance where classifier-free guidance is on by default.
_GUIDANCE = 5.0


class StableDiffusionXL:
    """A UNet whose conditions are the text, the text in one vector, and the picture's sizes."""

    def __init__(self, folder: PipelineFolder, *, dtype: torch.dtype, place: str) -> None:
        unet = folder.load_network("unet", ("UNet2DConditionModel",), dtype=dtype, place=place)
        self.dtype = dtype
        self.vae = load_vae(folder, dtype=dtype, place=place)
        self.towers = [
            load_clip(folder, suffix, ClipPenultimate, dtype=dtype, place=place)
            for suffix in ("", "_2")
        ]
        self._guidance_size = cast("int | None", cast("Any", unet).config.time_cond_proj_dim)
        self.denoiser = XlUnetStep(unet) if self._guidance_size is None else GuidedXlUnetStep(unet)
        traits = unet_traits(folder, unet, self.vae)
        self.traits = replace(
            traits,
            guidance=_GUIDANCE if traits.num_steps > 4 else traits.guidance,  # noqa: PLR2004 - LCM
            zeroes_negative=bool(folder.option("force_zeros_for_empty_prompt", default=True)),
        )

    def join(self, outputs: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Give both encoders' hidden states side by side, and the second one's pooled text."""
        first, second = outputs
        return torch.cat([first[0], second[0]], dim=-1), second[1]

    def conditions(self, text: Text, request: PictureRequest) -> tuple[Tensor, ...]:
        """Give the text, its vector, and size, corner and size again: nothing is cropped."""
        size = (request.height, request.width)
        sizes = torch.tensor([*size, 0, 0, *size]).to(text[0])
        if self._guidance_size is None:
            return (*text, sizes)
        guidance = embed_guidance(request.guidance - 1, self._guidance_size)
        return (*text, sizes, guidance.to(text[0]))

    def schedule_options(self, request: PictureRequest) -> Mapping[str, object]:
        """Add nothing."""
        del request
        return {}


class XlUnetStep(nn.Module):
    """A UNet with text, the text's vector and sizes as its conditions."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self, latents: Tensor, timesteps: Tensor, text: Tensor, pooled: Tensor, sizes: Tensor
    ) -> Tensor:
        """Predict."""
        output = self.unet(
            latents,
            timesteps,
            encoder_hidden_states=text,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
            return_dict=False,
        )
        return cast("Tensor", output[0])


class GuidedXlUnetStep(nn.Module):
    """The same, distilled to take guidance as an embedding."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: Tensor,
        pooled: Tensor,
        sizes: Tensor,
        guidance: Tensor,
    ) -> Tensor:
        """Predict."""
        output = self.unet(
            latents,
            timesteps,
            encoder_hidden_states=text,
            timestep_cond=guidance,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
            return_dict=False,
        )
        return cast("Tensor", output[0])
