"""Scenes to train on and to score on, and their drawings.

Owns which figures are held out: a tenth of all 1,728 (size, colour, shape and place) is never drawn
in training, alone or beside another; scored scenes have no others.
"""

from __future__ import annotations

import math
from random import Random
from zlib import crc32

import numpy as np
import torch

from .drawer import CENTRES, RADII, SIDE, draw, random_nudge
from .scenes import BACKGROUNDS, PLACES, Figure, Scene, random_figure


HELD_OUT_SHARE = 10
#: Pixels to a side of what one latent stands for.
CELL = 4


def is_held_out(figure: Figure) -> bool:
    """Say whether a figure is kept for scoring."""
    return crc32(figure.to_prompt().encode()) % HELD_OUT_SHARE == 0


def make_scene(random: Random, *, held_out: bool = False, max_figures: int = 2) -> Scene:
    """Make a scene of one to `max_figures` figures, all of them of one split."""
    places = random.sample(PLACES, random.randint(1, max_figures))
    figures = []
    for place in places:
        figure = random_figure(random, place)
        while is_held_out(figure) != held_out:
            figure = random_figure(random, place)
        figures.append(figure)
    return Scene(tuple(figures), random.choice(BACKGROUNDS))


def draw_nudged(scene: Scene, random: Random) -> np.ndarray:
    """Draw a scene with its figures a little aside: uint8 [64, 64, 3]."""
    return draw(scene, [random_nudge(random) for _ in scene.figures])


def to_cells(scene: Scene) -> np.ndarray:
    """Say which cells of four by four pixels lie near a place of the scene: bool [16, 16]."""
    near = np.zeros((SIDE // CELL, SIDE // CELL), bool)
    reach = max(RADII.values()) + 1
    for figure in scene.figures:
        columns, rows = (
            slice(max(0, math.floor((middle - reach) / CELL)), math.ceil((middle + reach) / CELL))
            for middle in CENTRES[figure.place]
        )
        near[rows, columns] = True
    return near


def to_pixels(pictures: list[np.ndarray]) -> torch.Tensor:
    """Turn pictures into what the autoencoder reads: float [n, 3, 64, 64] from -1 to 1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(pixels: torch.Tensor) -> list[np.ndarray]:
    """Turn what the autoencoder writes into uint8 pictures [64, 64, 3]."""
    scaled = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return list(scaled.permute(0, 2, 3, 1).cpu().numpy())
