"""The scenes to train on and to score on, and the way between pictures and pixels."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest


torch = pytest.importorskip("torch")

from examples.tiny_models.drawer import draw  # noqa: E402 - only where torch is installed
from examples.tiny_models.gallery import (  # noqa: E402
    draw_nudged,
    is_held_out,
    make_scene,
    to_cells,
    to_pictures,
    to_pixels,
)
from examples.tiny_models.scenes import (  # noqa: E402
    COLOURS,
    PLACES,
    SHAPES,
    SIZES,
    Figure,
    parse,
)


def test_keeps_held_out_figures_apart() -> None:
    """Training scenes have no held-out figure, and scored scenes have no other."""
    random = Random(1)

    for held_out in (False, True):
        scenes = [make_scene(random, held_out=held_out) for _ in range(500)]

        assert {held_out} == {is_held_out(figure) for scene in scenes for figure in scene.figures}
        assert {1, 2} == {len(scene.figures) for scene in scenes}
        assert all(parse(scene.to_prompt()) == scene for scene in scenes)


def test_holds_out_about_a_tenth_with_every_word() -> None:
    """A tenth of all figures is held out, and each word occurs among them."""
    figures = [
        Figure(size, colour, shape, place)
        for size in SIZES
        for colour in COLOURS
        for shape in SHAPES
        for place in PLACES
    ]
    held_out = [figure for figure in figures if is_held_out(figure)]
    words = {word for one in held_out for word in (one.size, one.colour, one.shape, one.place)}

    assert 0.08 < len(held_out) / len(figures) < 0.12
    assert words == {*SIZES, *COLOURS, *SHAPES, *PLACES}


def test_draws_no_two_alike() -> None:
    """A nudged drawing of the same scene differs, and the same seed gives the same one."""
    scene = make_scene(Random(2))
    random = Random(3)

    assert not np.array_equal(draw_nudged(scene, random), draw_nudged(scene, random))
    assert np.array_equal(draw_nudged(scene, Random(4)), draw_nudged(scene, Random(4)))


def test_finds_the_cells_of_every_figure() -> None:
    """No drawn pixel differs from the background outside the cells near the scene's places."""
    random = Random(6)

    for _ in range(50):
        scene = make_scene(random)
        picture = draw_nudged(scene, random)
        cells = to_cells(scene)
        near = np.kron(cells, np.ones((4, 4), bool))

        assert (picture[~near] == picture[0, 0]).all()
        assert 0.1 < cells.mean() < 0.35


def test_goes_to_pixels_and_back() -> None:
    """Pictures survive the way to the autoencoder's range and back."""
    random = Random(5)
    pictures = [draw(make_scene(random)) for _ in range(3)]

    pixels = to_pixels(pictures)

    assert pixels.shape == (3, 3, 64, 64)
    assert pixels.min() >= -1
    assert pixels.max() <= 1
    for before, after in zip(pictures, to_pictures(pixels), strict=True):
        assert np.array_equal(before, after)
