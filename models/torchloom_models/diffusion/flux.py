"""Flux: a transformer over packed latents, with T5's text and CLIP's in one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from torchloom_models.diffusion.clip import ClipPooled, load_clip
from torchloom_models.diffusion.flow import shift_of
from torchloom_models.diffusion.folder import PipelineFolder
from torchloom_models.diffusion.request import PictureRequest
from torchloom_models.diffusion.t5 import load_t5
from torchloom_models.diffusion.text import Text
from torchloom_models.diffusion.traits import Traits
from torchloom_models.diffusion.vae import latent_factor, load_vae


#: Latents in a row of a patch: the transformer sees 2 x 2 of them as one.
_PATCH = 2

#: The longest text: that of the model that is guided, and of the one that was distilled to 4 steps.
_LENGTH, _SCHNELL_LENGTH = 512, 256

#: The side of a picture in latents, as diffusers has it: no configuration says it.
_SAMPLE_SIZE = 128


class Flux:
    """A transformer that takes its guidance as a number, or was distilled to need none."""

    def __init__(self, folder: PipelineFolder, *, dtype: torch.dtype, place: str) -> None:
        transformer = folder.load_network(
            "transformer", ("FluxTransformer2DModel",), dtype=dtype, place=place
        )
        config: Any = transformer.config
        self._is_guided = bool(config.guidance_embeds)
        self._scheduler = folder.scheduler_config
        self.dtype = dtype
        self.vae = load_vae(folder, dtype=dtype, place=place)
        length = _LENGTH if self._is_guided else _SCHNELL_LENGTH
        self.towers = [
            load_clip(folder, "", ClipPooled, dtype=dtype, place=place),
            load_t5(folder, "_2", length, dtype=dtype, place=place),
        ]
        self.denoiser = GuidedFluxStep(transformer) if self._is_guided else FluxStep(transformer)
        factor = latent_factor(self.vae)
        self.traits = Traits(
            pipeline=folder.pipeline,
            num_steps=28 if self._is_guided else 4,
            guidance=3.5,
            height=_SAMPLE_SIZE * factor,
            width=_SAMPLE_SIZE * factor,
            size_multiple=_PATCH * factor,
            latent_factor=factor,
            latent_channels=int(config.in_channels) // _PATCH**2,
            guidance_way="input" if self._is_guided else "none",
            noise="flow",
        )

    def join(self, outputs: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Give T5's hidden states, and CLIP's pooled text."""
        clip, t5 = outputs
        return t5[0], clip[0]

    def conditions(self, text: Text, request: PictureRequest) -> tuple[Tensor, ...]:
        """Give the text, its vector, and the guidance where it is taken."""
        if not self._is_guided:
            return text
        return (*text, torch.tensor(request.guidance, device=text[0].device))

    def schedule_options(self, request: PictureRequest) -> Mapping[str, object]:
        """Give evenly spaced noise levels, and how far they are shifted for this size."""
        multiple = self.traits.size_multiple
        num_patches = (request.height // multiple) * (request.width // multiple)
        options: dict[str, object] = {"mu": shift_of(num_patches, self._scheduler, max_shift=1.15)}
        if not self._scheduler.get("use_flow_sigmas"):
            options["sigmas"] = np.linspace(1.0, 1 / request.num_steps, request.num_steps)
        return options


class FluxStep(nn.Module):
    """The transformer, seen as a network over latents [rows, channels, h, w]."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, latents: Tensor, timesteps: Tensor, text: Tensor, pooled: Tensor) -> Tensor:
        """Predict."""
        return _predict(self.transformer, latents, timesteps, text, pooled, None)


class GuidedFluxStep(nn.Module):
    """The same, with a guidance [rows]."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(
        self, latents: Tensor, timesteps: Tensor, text: Tensor, pooled: Tensor, guidance: Tensor
    ) -> Tensor:
        """Predict."""
        return _predict(self.transformer, latents, timesteps, text, pooled, guidance)


def _predict(
    transformer: nn.Module,
    latents: Tensor,
    timesteps: Tensor,
    text: Tensor,
    pooled: Tensor,
    guidance: Tensor | None,
) -> Tensor:
    height, width = latents.shape[2:]
    output = transformer(
        hidden_states=_packed(latents),
        timestep=timesteps.to(latents.dtype) / 1000,
        guidance=guidance,
        pooled_projections=pooled,
        encoder_hidden_states=text,
        txt_ids=torch.zeros(text.shape[1], 3, dtype=text.dtype, device=text.device),
        img_ids=_places(height // _PATCH, width // _PATCH).to(text),
        return_dict=False,
    )
    return _unpacked(cast("Tensor", output[0]), latents.shape[1], height, width)


def _packed(latents: Tensor) -> Tensor:
    """Give latents [rows, channels, h, w] as patches [rows, h w / 4, 4 channels].

    Every size but the rows is a number: OpenVINO infers one unknown in a shape, and no second.
    """
    channels, height, width = latents.shape[1:]
    parts = latents.view(-1, channels, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
    num_patches = (height // _PATCH) * (width // _PATCH)
    return parts.permute(0, 2, 4, 1, 3, 5).reshape(-1, num_patches, channels * _PATCH**2)


def _unpacked(patches: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Give patches as latents again."""
    parts = patches.view(-1, height // _PATCH, width // _PATCH, channels, _PATCH, _PATCH)
    return parts.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, height, width)


def _places(height: int, width: int) -> Tensor:
    """Give the place of each patch, as the transformer's rotary embedding counts: [patches, 3]."""
    down = torch.arange(height)[:, None].expand(height, width)
    across = torch.arange(width)[None, :].expand(height, width)
    return torch.stack([torch.zeros_like(down), down, across], dim=-1).flatten(0, 1)
