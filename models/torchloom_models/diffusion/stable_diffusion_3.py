"""Stable Diffusion 3: a transformer over latents, with the texts of two CLIPs and, maybe, T5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchloom_models.diffusion.clip import ClipPenultimate, load_clip
from torchloom_models.diffusion.flow import shift_of
from torchloom_models.diffusion.folder import PipelineFolder
from torchloom_models.diffusion.request import PictureRequest
from torchloom_models.diffusion.t5 import load_t5
from torchloom_models.diffusion.text import Text
from torchloom_models.diffusion.traits import Traits
from torchloom_models.diffusion.vae import latent_factor, load_vae


#: The longest text that T5 reads.
_LENGTH = 256


class StableDiffusion3:
    """A transformer whose conditions are the text and the text in one vector."""

    def __init__(self, folder: PipelineFolder, *, dtype: torch.dtype, place: str) -> None:
        transformer = folder.load_network(
            "transformer", ("SD3Transformer2DModel",), dtype=dtype, place=place
        )
        config: Any = transformer.config
        self._width = int(config.joint_attention_dim)
        self._patch = int(config.patch_size)
        self._scheduler = folder.scheduler_config
        self.dtype = dtype
        self.vae = load_vae(folder, dtype=dtype, place=place)
        self.towers = [
            load_clip(folder, suffix, ClipPenultimate, dtype=dtype, place=place)
            for suffix in ("", "_2")
        ]
        if folder.has("text_encoder_3"):
            self.towers.append(load_t5(folder, "_3", _LENGTH, dtype=dtype, place=place))
        self.denoiser = Sd3Step(transformer)
        factor = latent_factor(self.vae)
        self.traits = Traits(
            pipeline=folder.pipeline,
            num_steps=28,
            guidance=7.0,
            height=int(config.sample_size) * factor,
            width=int(config.sample_size) * factor,
            max_side=int(config.pos_embed_max_size) * self._patch * factor,
            size_multiple=self._patch * factor,
            latent_factor=factor,
            latent_channels=int(config.in_channels),
            noise="flow",
        )

    def join(self, outputs: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Give the CLIPs side by side, widened to T5's width, before T5; and the pooled texts."""
        first, second, *more = outputs
        clip = torch.cat([first[0], second[0]], dim=-1)
        t5 = more[0][0] if more else clip.new_zeros(len(clip), _LENGTH, self._width)
        clip = nn.functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
        return torch.cat([clip, t5], dim=1), torch.cat([first[1], second[1]], dim=-1)

    def conditions(self, text: Text, request: PictureRequest) -> tuple[Tensor, ...]:
        """Give the text and its vector."""
        del request
        return text

    def schedule_options(self, request: PictureRequest) -> Mapping[str, object]:
        """Give how far the steps are shifted for this size."""
        multiple = self.traits.size_multiple
        num_patches = (request.height // multiple) * (request.width // multiple)
        return {"mu": shift_of(num_patches, self._scheduler, max_shift=1.16)}


class Sd3Step(nn.Module):
    """The transformer with its conditions."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, latents: Tensor, timesteps: Tensor, text: Tensor, pooled: Tensor) -> Tensor:
        """Predict."""
        output = self.transformer(
            hidden_states=latents,
            timestep=timesteps,
            encoder_hidden_states=text,
            pooled_projections=pooled,
            return_dict=False,
        )
        return cast("Tensor", output[0])
