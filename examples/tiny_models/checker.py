"""Judges from pixels alone whether a picture shows its scene.

Owns how background, figures, their colours and their shapes are found in pixels. Knows nothing of
models, and never compares with the one right drawing: a figure may sit a little aside, or be a
little larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from .drawer import BACKGROUND_VALUES, CENTRES, COLOUR_VALUES, RADII, SIDE, draw_mask
from .scenes import SHAPES, Figure, Scene


#: Half the side of the square in which a figure is sought, around the middle of its place.
REACH = 11
#: A pixel this far from the background (of 441, black to white) belongs to a figure.
FAR = 40.0
#: A colour is right when it is the nearest of all, and no farther than this.
NEAR = 50.0
#: A figure has at least so many pixels; the smallest drawn one has some 40.
MIN_PIXELS = 16
#: So many pixels beside the figures may differ from the background; a blur, but no figure.
MAX_STRAY = 16
#: How well the best template must cover a figure (intersection over union).
MIN_OVERLAP = 0.75

_VALUES = {**COLOUR_VALUES, **BACKGROUND_VALUES}
_RADII = np.arange(5.0, 11.01, 0.5)
_SHIFTS = np.arange(-2.0, 2.01, 0.5)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one figure looks like; None where nothing stands at its place."""

    colour: str | None = None
    shape: str | None = None
    size: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is seen of a scene, and which of it is right."""

    scene: Scene
    background: str | None
    figures: tuple[Seen, ...]
    num_stray: int

    @property
    def colours_right(self) -> bool:
        """Whether the background and every figure have their colours."""
        return self.background == self.scene.background and all(
            seen.colour == figure.colour for seen, figure in self._pairs()
        )

    @property
    def shapes_right(self) -> bool:
        """Whether every figure has its shape at its place, and nothing stands elsewhere."""
        return self.num_stray <= MAX_STRAY and all(
            seen.shape == figure.shape for seen, figure in self._pairs()
        )

    @property
    def sizes_right(self) -> bool:
        """Whether every figure has its size."""
        return all(seen.size == figure.size for seen, figure in self._pairs())

    def _pairs(self) -> list[tuple[Seen, Figure]]:
        return list(zip(self.figures, self.scene.figures, strict=True))


def check(picture: np.ndarray, scene: Scene) -> Verdict:
    """Look at uint8 [64, 64, 3] for what the scene says."""
    if picture.shape != (SIDE, SIDE, 3) or picture.dtype != np.uint8:
        raise ValueError(
            f"A picture is uint8 [{SIDE}, {SIDE}, 3], and this one is "
            f"{picture.dtype} {list(picture.shape)}."
        )
    pixels = picture.astype(np.float32)
    outside = np.ones((SIDE, SIDE), bool)
    for figure in scene.figures:
        outside[_window(figure)] = False
    background = np.median(pixels[outside], axis=0)
    return Verdict(
        scene=scene,
        background=_name_of(background),
        figures=tuple(_look(pixels[_window(figure)], background) for figure in scene.figures),
        num_stray=int((_distance(pixels[outside], background) > FAR).sum()),
    )


def _window(figure: Figure) -> tuple[slice, slice]:
    """Give the rows and columns around a figure's place."""
    x, y = CENTRES[figure.place]
    return slice(int(y) - REACH, int(y) + REACH), slice(int(x) - REACH, int(x) + REACH)


def _look(window: np.ndarray, background: np.ndarray) -> Seen:
    """Say what stands in a window of float [22, 22, 3]."""
    distance = _distance(window, background)
    inside = distance > FAR
    if inside.sum() < MIN_PIXELS:
        return Seen()
    # Smooth edges are mixed with the background; the farther half of the pixels is not.
    pure = inside & (distance >= np.median(distance[inside]))
    colour = np.median(window[pure], axis=0)
    shape, size = _match(_coverage(window, background, colour))
    return Seen(_name_of(colour), shape, size)


def _coverage(window: np.ndarray, background: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Say how much of each pixel is of the colour; 0 where it mixes in any other."""
    span = colour - background
    share = np.clip((window - background) @ span / (span @ span), 0.0, 1.0)
    mixed = background + share[..., None] * span
    return np.where(_distance(window, mixed) > FAR, 0.0, share).astype(np.float32)


def _match(coverage: np.ndarray) -> tuple[str | None, str | None]:
    """Name the shape whose template fits best, over small shifts and all sizes, and its size."""
    names, radii, templates, areas = _templates()
    flat = coverage.reshape(1, -1)
    shared = np.minimum(templates, flat).sum(axis=1)
    overlap = shared / (areas + flat.sum() - shared)
    best = int(overlap.argmax())
    if overlap[best] < MIN_OVERLAP:
        return None, None
    return names[best], min(RADII, key=lambda size: abs(RADII[size] - radii[best]))


@cache
def _templates() -> tuple[list[str], list[float], np.ndarray, np.ndarray]:
    """Draw every shape in every size and shift: names, radii, masks [n, pixels], areas [n]."""
    names, radii, masks = [], [], []
    for shape in SHAPES:
        for radius in _RADII.tolist():
            for dx in _SHIFTS.tolist():
                for dy in _SHIFTS.tolist():
                    names.append(shape)
                    radii.append(radius)
                    masks.append(
                        draw_mask(shape, radius, REACH + dx, REACH + dy, side=2 * REACH).ravel()
                    )
    templates = np.stack(masks)
    return names, radii, templates, templates.sum(axis=1)


def _distance(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.linalg.norm(pixels - colour, axis=-1)


def _name_of(colour: np.ndarray) -> str | None:
    """Name the nearest colour or background; None when it is far from each."""
    distances = {
        name: float(_distance(colour, np.array(value, np.float32)))
        for name, value in _VALUES.items()
    }
    name = min(distances, key=distances.__getitem__)
    return name if distances[name] <= NEAR else None
