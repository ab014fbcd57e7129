"""Draws a scene: 64x64 pixels, plain colours, smooth edges.

Owns how each word of the scene language looks. Knows nothing of models. The same scene and nudges
always give the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from .scenes import PLACES, Scene


SIDE = 64
#: Red, green and blue, 0 to 255.
COLOUR_VALUES: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 40),
    "orange": (255, 140, 0),
    "yellow": (250, 220, 30),
    "green": (30, 160, 60),
    "blue": (40, 90, 230),
    "purple": (130, 50, 180),
    "pink": (255, 120, 190),
    "brown": (130, 75, 35),
}
BACKGROUND_VALUES: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "cream": (255, 244, 214),
    "navy": (15, 25, 80),
}
#: Half the side of the square that a figure fills, in pixels.
RADII: dict[str, float] = {"small": 6.0, "medium": 8.0, "large": 10.0}
#: The middle of each place, in pixels: a grid of three by three, in the order of the words.
CENTRES: dict[str, tuple[float, float]] = {
    place: (11.0 + 21.0 * (index % 3), 11.0 + 21.0 * (index // 3))
    for index, place in enumerate(PLACES)
}

#: Lines are drawn this much larger and then averaged, which smooths their edges.
_ZOOM = 8
_BLACK, _WHITE = 0, 255

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Nudge:
    """A small shift in pixels, and a small change of size, so that no two drawings are alike."""

    dx: float = 0.0
    dy: float = 0.0
    scale: float = 1.0


def random_nudge(random: Random) -> Nudge:
    """Shift by at most a pixel and scale by at most a twentieth."""
    return Nudge(random.uniform(-1, 1), random.uniform(-1, 1), random.uniform(0.95, 1.05))


def draw(scene: Scene, nudges: Sequence[Nudge] = ()) -> np.ndarray:
    """Draw a scene as uint8 [64, 64, 3]; `nudges` stand for the figures in their order."""
    picture = np.empty((SIDE, SIDE, 3), np.float32)
    picture[:] = BACKGROUND_VALUES[scene.background]
    for index, figure in enumerate(scene.figures):
        nudge = nudges[index] if index < len(nudges) else Nudge()
        x, y = CENTRES[figure.place]
        radius = RADII[figure.size] * nudge.scale
        mask = draw_mask(figure.shape, radius, x + nudge.dx, y + nudge.dy, side=SIDE)[..., None]
        picture += mask * (np.array(COLOUR_VALUES[figure.colour], np.float32) - picture)
    return picture.round().astype(np.uint8)


def draw_mask(shape: str, radius: float, x: float, y: float, *, side: int) -> np.ndarray:
    """Give the share of each pixel that a shape around (x, y) covers: float32 [side, side]."""
    canvas = Image.new("L", (side * _ZOOM, side * _ZOOM), _BLACK)
    _PENS[shape](ImageDraw.Draw(canvas), x * _ZOOM, y * _ZOOM, radius * _ZOOM)
    return np.asarray(canvas.reduce(_ZOOM), np.float32) / _WHITE


Pen = Callable[[ImageDraw.ImageDraw, float, float, float], None]


def _disc(radius: float, fill: int = _WHITE) -> Pen:
    def pen(canvas: ImageDraw.ImageDraw, x: float, y: float, zoom: float) -> None:
        reach = radius * zoom
        canvas.ellipse((x - reach, y - reach, x + reach - 1, y + reach - 1), fill=fill)

    return pen


def _polygon(points: Sequence[Point]) -> Pen:
    def pen(canvas: ImageDraw.ImageDraw, x: float, y: float, zoom: float) -> None:
        canvas.polygon([(x + a * zoom, y + b * zoom) for a, b in points], fill=_WHITE)

    return pen


def _all(*pens: Pen) -> Pen:
    def pen(canvas: ImageDraw.ImageDraw, x: float, y: float, zoom: float) -> None:
        for one in pens:
            one(canvas, x, y, zoom)

    return pen


def _star() -> list[Point]:
    """Give the corners of a star with five points, the first of them on top."""
    corners = []
    for index in range(10):
        reach = 1.05 if index % 2 == 0 else 0.42
        angle = math.pi * index / 5
        corners.append((reach * math.sin(angle), 0.08 - reach * math.cos(angle)))
    return corners


def _heart() -> list[Point]:
    """Follow the well-known heart curve, scaled to fill the square from -0.95 to 0.95."""
    points = []
    for index in range(48):
        angle = 2 * math.pi * index / 48
        across = 16 * math.sin(angle) ** 3
        up = 13 * math.cos(angle) - 5 * math.cos(2 * angle) - 2 * math.cos(3 * angle)
        points.append((0.95 * across / 16, -0.95 * (up - math.cos(4 * angle) + 2.5) / 14.5))
    return points


def _rectangle(width: float, height: float) -> list[Point]:
    return [(-width, -height), (width, -height), (width, height), (-width, height)]


#: How each shape is drawn, in a square from -1 to 1 with y downwards.
_PENS: dict[str, Pen] = {
    "circle": _disc(0.95),
    "square": _polygon(_rectangle(0.82, 0.82)),
    "triangle": _polygon([(0, -0.95), (0.95, 0.8), (-0.95, 0.8)]),
    "star": _polygon(_star()),
    "cross": _all(_polygon(_rectangle(0.95, 0.3)), _polygon(_rectangle(0.3, 0.95))),
    "ring": _all(_disc(0.98), _disc(0.54, _BLACK)),
    "diamond": _polygon([(0, -1), (0.72, 0), (0, 1), (-0.72, 0)]),
    "heart": _polygon(_heart()),
}
