"""Figures cut out once, then laid on pictures by the device that trains.

Drawing each picture anew would take a GPU longer than learning from it. Owns how many drawings of a
figure there are; how each looks is in `drawer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np
import torch

from .drawer import (
    BACKGROUND_VALUES,
    CENTRES,
    COLOUR_VALUES,
    RADII,
    SIDE,
    draw_mask,
    random_nudge,
)
from .scenes import PLACES, SHAPES, SIZES, Figure, Scene


#: Nudged drawings of each size, shape and place.
NUM_NUDGED = 64

_KINDS = {kind: index for index, kind in enumerate(product(SIZES, SHAPES, PLACES))}
_COLOURS = {colour: index for index, colour in enumerate(COLOUR_VALUES)}
_BACKGROUNDS = {background: index for index, background in enumerate(BACKGROUND_VALUES)}


@dataclass(frozen=True, slots=True)
class Stencils:
    """What figures cover, uint8 [kinds * nudged + 1, 64, 64]; the last one covers nothing."""

    masks: torch.Tensor
    num_nudged: int

    @classmethod
    def cut(cls, random: Random, device: torch.device, num_nudged: int = NUM_NUDGED) -> Stencils:
        """Draw each size, shape and place several times, a little aside each time."""
        masks = np.zeros((len(_KINDS) * num_nudged + 1, SIDE, SIDE), np.uint8)
        for (size, shape, place), kind in _KINDS.items():
            x, y = CENTRES[place]
            for index in range(num_nudged):
                nudge = random_nudge(random)
                radius = RADII[size] * nudge.scale
                mask = draw_mask(shape, radius, x + nudge.dx, y + nudge.dy, side=SIDE)
                masks[kind * num_nudged + index] = np.round(mask * 255)
        return cls(torch.from_numpy(masks).to(device), num_nudged)

    def draw(self, scenes: Sequence[Scene], random: Random) -> torch.Tensor:
        """Draw scenes with any of the stencils: float [n, 3, 64, 64] from -1 to 1."""
        device, most = self.masks.device, max(len(scene.figures) for scene in scenes)
        backgrounds = torch.tensor([_BACKGROUNDS[scene.background] for scene in scenes])
        laid = torch.tensor([self._choose(scene, most, random) for scene in scenes])
        pixels = _values(BACKGROUND_VALUES, device)[backgrounds.to(device)]
        stencils, colours = laid.to(device).unbind(dim=2)
        values = _values(COLOUR_VALUES, device)[colours]
        for index in range(most):
            mask = self.masks[stencils[:, index], None].float() / 255
            pixels = pixels + mask * (values[:, index] - pixels)
        return pixels.round() / 127.5 - 1

    def _choose(self, scene: Scene, most: int, random: Random) -> list[tuple[int, int]]:
        """Choose stencil and colour of each figure, and nothing for those that are fewer."""
        nothing = (len(self.masks) - 1, 0)
        chosen = [self._stencil(figure, random) for figure in scene.figures]
        return chosen + [nothing] * (most - len(chosen))

    def _stencil(self, figure: Figure, random: Random) -> tuple[int, int]:
        kind = _KINDS[figure.size, figure.shape, figure.place]
        return kind * self.num_nudged + random.randrange(self.num_nudged), _COLOURS[figure.colour]


def _values(values: dict[str, tuple[int, int, int]], device: torch.device) -> torch.Tensor:
    """Give colours as float [n, 3, 1, 1]."""
    return torch.tensor(list(values.values()), dtype=torch.float32, device=device)[..., None, None]
