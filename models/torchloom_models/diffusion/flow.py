"""How flow models space their steps: large pictures spend more of them on what is coarse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast


def shift_of(num_patches: int, config: Mapping[str, object], *, max_shift: float) -> float:
    """Give the shift `mu` for so many patches, by the line that a scheduler's configuration draws.

    As in https://arxiv.org/abs/2403.03206, section 5.3.2; the defaults are diffusers' own.
    """
    low = float(cast("float", config.get("base_image_seq_len", 256)))
    high = float(cast("float", config.get("max_image_seq_len", 4096)))
    least = float(cast("float", config.get("base_shift", 0.5)))
    most = float(cast("float", config.get("max_shift", max_shift)))
    slope = (most - least) / (high - low)
    return num_patches * slope + (least - slope * low)
