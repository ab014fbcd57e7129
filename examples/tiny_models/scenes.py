"""The scene language: one line of plain words that says exactly what to draw.

Owns the vocabulary, the grammar, parsing and random scenes. Knows nothing of pixels or models. A
line reads "a small red circle at the top left on a white background", or has two figures: "a large
blue star in the centre and a small pink ring at the bottom on a black background".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random


SIZES = ("small", "medium", "large")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart")
PLACES = (
    "at the top left",
    "at the top",
    "at the top right",
    "at the left",
    "in the centre",
    "at the right",
    "at the bottom left",
    "at the bottom",
    "at the bottom right",
)
BACKGROUNDS = ("white", "black", "grey", "cream", "navy")

_FIGURE = (
    rf"a ({'|'.join(SIZES)}) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)}) "
    rf"({'|'.join(sorted(PLACES, key=len, reverse=True))})"
)
_LINE = re.compile(rf"{_FIGURE}(?: and {_FIGURE})? on a ({'|'.join(BACKGROUNDS)}) background")


@dataclass(frozen=True, slots=True)
class Figure:
    """One coloured shape at one place."""

    size: str
    colour: str
    shape: str
    place: str

    def to_prompt(self) -> str:
        """Say the figure and its place."""
        return f"a {self.size} {self.colour} {self.shape} {self.place}"


@dataclass(frozen=True, slots=True)
class Scene:
    """One or two figures, at different places, on a plain background."""

    figures: tuple[Figure, ...]
    background: str

    def to_prompt(self) -> str:
        """Say the scene in the scene language; `parse` is the inverse."""
        figures = " and ".join(figure.to_prompt() for figure in self.figures)
        return f"{figures} on a {self.background} background"


def parse(line: str) -> Scene | None:
    """Read one line of the scene language; None when it is not in the language."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    words = match.groups()
    figures = [Figure(*words[0:4])]
    if words[4] is not None:
        figures.append(Figure(*words[4:8]))
    if len({figure.place for figure in figures}) < len(figures):
        return None
    return Scene(tuple(figures), words[8])


def random_figure(random: Random, place: str) -> Figure:
    """Draw a figure for a place, all words equally likely."""
    return Figure(random.choice(SIZES), random.choice(COLOURS), random.choice(SHAPES), place)


def random_scene(random: Random, *, max_figures: int = 2) -> Scene:
    """Draw a scene of one to `max_figures` figures, all words equally likely."""
    count = random.randint(1, max_figures)
    places = random.sample(PLACES, count)
    figures = tuple(random_figure(random, place) for place in places)
    return Scene(figures, random.choice(BACKGROUNDS))
