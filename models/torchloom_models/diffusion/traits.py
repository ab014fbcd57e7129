"""Traits: what can be asked of a family of models, and what it does unasked. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torchloom_models.diffusion.scheduler_table import Noise


#: How guidance reaches the network: a second row without the prompt, a number among its inputs, or
#: not at all.
GuidanceWay = Literal["rows", "input", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a pipeline's configuration says of it.

    Width and height are multiples of `size_multiple` pixels; a latent is `latent_factor` pixels
    wide; a side has `max_side` pixels at most. `zeroes_negative`: a negative prompt that was not
    given is zeros, not the empty text. `fills_masks`: the network sees a mask and what it leaves of
    an image beside the latents, and draws nothing without.
    """

    pipeline: str
    num_steps: int
    guidance: float
    height: int
    width: int
    max_side: int | None = None
    size_multiple: int
    latent_factor: int
    latent_channels: int
    guidance_way: GuidanceWay = "rows"
    noise: Noise = "diffusion"
    can_start_from_image: bool = False
    fills_masks: bool = False
    zeroes_negative: bool = False

    def doubles_rows(self, guidance: float) -> bool:
        """Say whether a picture of this guidance takes a second row, without its prompt."""
        return self.guidance_way == "rows" and guidance > 1
