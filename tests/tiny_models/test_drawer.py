"""The drawer: scenes become pictures of 64x64 pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from examples.tiny_models.drawer import (
    BACKGROUND_VALUES,
    CENTRES,
    COLOUR_VALUES,
    RADII,
    SIDE,
    Nudge,
    draw,
    draw_mask,
)
from examples.tiny_models.scenes import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES, Figure, Scene


def test_knows_every_word_of_the_scene_language() -> None:
    """Each colour, background, size and place has its look."""
    assert set(COLOURS) == set(COLOUR_VALUES)
    assert set(BACKGROUNDS) == set(BACKGROUND_VALUES)
    assert set(SIZES) == set(RADII)
    assert set(PLACES) == set(CENTRES)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", PLACES)
def test_puts_a_figure_at_its_place_alone(shape: str, place: str) -> None:
    """Nothing but the background is farther than a figure's reach from the middle of its place."""
    picture = draw(Scene((Figure("large", "red", shape, place),), "grey"))
    painted = (picture != BACKGROUND_VALUES["grey"]).any(axis=-1)
    rows, columns = np.nonzero(painted)
    x, y = CENTRES[place]

    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8
    assert np.abs(columns + 0.5 - x).max() <= RADII["large"] + 1
    assert np.abs(rows + 0.5 - y).max() <= RADII["large"] + 1
    assert abs(columns.mean() + 0.5 - x) < 1
    assert COLOUR_VALUES["red"] in {tuple(pixel) for pixel in picture[painted].tolist()}


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_a_larger_size_larger(shape: str) -> None:
    """Each size covers clearly more than the one below it."""
    areas = [draw_mask(shape, RADII[size], 16, 16, side=32).sum() for size in SIZES]

    assert all(larger > 1.4 * smaller for smaller, larger in pairwise(areas))


def test_smooths_edges() -> None:
    """An edge between two pixels covers part of each."""
    mask = draw_mask("square", 6.0, 16.25, 16.25, side=32)

    assert ((mask > 0.1) & (mask < 0.9)).any()
    assert mask.max() == 1.0
    assert mask.min() == 0.0


def test_moves_a_nudged_figure() -> None:
    """A nudge shifts its own figure by pixels, and leaves the other one where it stood."""
    first = Figure("small", "red", "circle", "at the top left")
    second = Figure("small", "blue", "square", "at the bottom right")
    scene = Scene((first, second), "white")

    still, nudged = draw(scene), draw(scene, [Nudge(dx=1.0, dy=1.0)])

    assert np.array_equal(nudged[1:32, 1:32], still[:31, :31])
    assert np.array_equal(nudged[32:], still[32:])


def test_draws_the_same_picture_each_time() -> None:
    """Scene and nudges decide every pixel."""
    scene = Scene((Figure("medium", "pink", "heart", "in the centre"),), "navy")
    nudges = [Nudge(0.3, -0.7, 1.02)]

    assert np.array_equal(draw(scene, nudges), draw(scene, nudges))
