"""Family: what sets one pipeline of diffusers apart from another, behind one face; and who is who.

A family is a folder's networks and how they are fed. Stepping and batching are the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from torchloom.errors import ModelLoadError, nearest
from torchloom_models.diffusion.folder import PipelineFolder
from torchloom_models.diffusion.request import PictureRequest
from torchloom_models.diffusion.text import Text, TextTower
from torchloom_models.diffusion.traits import Traits
from torchloom_models.hardware import DtypeName, dtype_of


class Family(Protocol):
    """The networks of one folder, loaded, and what they take.

    `denoiser` is a module: (latents [rows, channels, h, w], timesteps [rows], and each condition
    [rows, …]) gives a prediction of the latents' shape.
    """

    traits: Traits
    dtype: torch.dtype
    denoiser: nn.Module
    vae: nn.Module
    towers: Sequence[TextTower]

    def join(self, outputs: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Make what is known of texts of what each tower's encoder gave: tensors [texts, …]."""
        ...

    def conditions(self, text: Text, request: PictureRequest) -> tuple[Tensor, ...]:
        """Give the conditions of one row: tensors without a batch dimension."""
        ...

    def schedule_options(self, request: PictureRequest) -> Mapping[str, object]:
        """Give what set_timesteps wants to know beside the number of steps."""
        ...


_STABLE_DIFFUSION = "torchloom_models.diffusion.stable_diffusion:StableDiffusion"
_STABLE_DIFFUSION_XL = "torchloom_models.diffusion.stable_diffusion_xl:StableDiffusionXL"
_STABLE_DIFFUSION_3 = "torchloom_models.diffusion.stable_diffusion_3:StableDiffusion3"

#: Who serves which pipeline class, as `package.module:Class`.
FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "StableDiffusionPipeline": _STABLE_DIFFUSION,
        "StableDiffusionImg2ImgPipeline": _STABLE_DIFFUSION,
        "StableDiffusionInpaintPipeline": _STABLE_DIFFUSION,
        "LatentConsistencyModelPipeline": _STABLE_DIFFUSION,
        "StableDiffusionXLPipeline": _STABLE_DIFFUSION_XL,
        "StableDiffusionXLImg2ImgPipeline": _STABLE_DIFFUSION_XL,
        "StableDiffusionXLInpaintPipeline": _STABLE_DIFFUSION_XL,
        "StableDiffusion3Pipeline": _STABLE_DIFFUSION_3,
        "FluxPipeline": "torchloom_models.diffusion.flux:Flux",
    }
)


def load_family(folder: PipelineFolder, *, dtype_name: DtypeName, place: str) -> Family:
    """Load the networks of a folder by its pipeline's class. Raises ModelLoadError."""
    name = folder.pipeline
    if name not in FAMILIES:
        message = f"{str(folder.path)!r} is a {name}, which is not served.{nearest(name, FAMILIES)}"
        raise ModelLoadError(message)
    module, _, of = FAMILIES[name].partition(":")
    denoiser = "unet" if folder.has("unet") else "transformer"
    dtype = dtype_of(dtype_name, place=place, stored=folder.stored_dtype(denoiser))
    return cast("Family", getattr(import_module(module), of)(folder, dtype=dtype, place=place))
