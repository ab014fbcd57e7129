"""The pixel checker: right drawings pass, and everything else is told apart."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from examples.tiny_models.checker import check
from examples.tiny_models.drawer import BACKGROUND_VALUES, SIDE, Nudge, draw, random_nudge
from examples.tiny_models.scenes import (
    BACKGROUNDS,
    COLOURS,
    PLACES,
    SHAPES,
    SIZES,
    Figure,
    Scene,
    random_scene,
)


FIGURE = Figure("medium", "blue", "star", "at the top left")
SCENE = Scene((FIGURE,), "cream")


def _plain(background: str) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), BACKGROUND_VALUES[background], np.uint8)


def test_passes_every_drawing() -> None:
    """Random scenes, nudged as in training, are right in colours, shapes and sizes."""
    random = Random(11)

    for _ in range(300):
        scene = random_scene(random)
        verdict = check(draw(scene, [random_nudge(random) for _ in scene.figures]), scene)

        assert verdict.colours_right, verdict
        assert verdict.shapes_right, verdict
        assert verdict.sizes_right, verdict


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("size", SIZES)
def test_passes_every_colour_and_shape(background: str, size: str) -> None:
    """All 64 of them are recognised on each background, in each size."""
    for colour in COLOURS:
        for shape in SHAPES:
            scene = Scene((Figure(size, colour, shape, "in the centre"),), background)
            verdict = check(draw(scene), scene)

            assert verdict.colours_right, verdict
            assert verdict.shapes_right, verdict


@pytest.mark.parametrize("size", SIZES)
def test_sees_a_wrong_colour(size: str) -> None:
    """A figure in any other colour is wrong in colour, and right in shape."""
    for wanted in COLOURS:
        for drawn in set(COLOURS) - {wanted}:
            figure = Figure(size, drawn, "ring", "at the bottom")
            picture = draw(Scene((figure,), "grey"))
            verdict = check(picture, Scene((replace(figure, colour=wanted),), "grey"))

            assert not verdict.colours_right
            assert verdict.figures[0].colour == drawn
            assert verdict.shapes_right


@pytest.mark.parametrize("size", SIZES)
def test_sees_a_wrong_shape(size: str) -> None:
    """A figure of any other shape is wrong in shape, even nudged, and right in colour."""
    random = Random(12)
    for wanted in SHAPES:
        for drawn in set(SHAPES) - {wanted}:
            figure = Figure(size, "green", drawn, "at the right")
            picture = draw(Scene((figure,), "white"), [random_nudge(random)])
            verdict = check(picture, Scene((replace(figure, shape=wanted),), "white"))

            assert not verdict.shapes_right
            assert verdict.figures[0].shape == drawn
            assert verdict.colours_right


def test_sees_a_wrong_background() -> None:
    """The background's colour counts among the colours."""
    verdict = check(draw(SCENE), replace(SCENE, background="white"))

    assert not verdict.colours_right
    assert verdict.background == "cream"


def test_sees_a_wrong_size() -> None:
    """A small figure is not a large one."""
    picture = draw(Scene((replace(FIGURE, size="small"),), "cream"))
    verdict = check(picture, Scene((replace(FIGURE, size="large"),), "cream"))

    assert not verdict.sizes_right
    assert verdict.shapes_right


@pytest.mark.parametrize("place", sorted(set(PLACES) - {FIGURE.place}))
def test_sees_a_figure_at_the_wrong_place(place: str) -> None:
    """A figure that stands elsewhere is missing where it should stand."""
    verdict = check(draw(Scene((replace(FIGURE, place=place),), "cream")), SCENE)

    assert not verdict.colours_right
    assert not verdict.shapes_right


def test_sees_a_figure_too_many() -> None:
    """A second figure that nobody asked for makes the shapes wrong."""
    second = Figure("small", "red", "cross", "at the bottom right")

    verdict = check(draw(Scene((FIGURE, second), "cream")), SCENE)

    assert verdict.num_stray > 0
    assert not verdict.shapes_right


def test_sees_that_two_figures_changed_colours() -> None:
    """Each figure must have its own colour, not only the picture."""
    red = Figure("medium", "red", "circle", "at the left")
    blue = Figure("medium", "blue", "circle", "at the right")
    swapped = (replace(red, colour="blue"), replace(blue, colour="red"))

    verdict = check(draw(Scene(swapped, "white")), Scene((red, blue), "white"))

    assert not verdict.colours_right
    assert verdict.shapes_right


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_finds_nothing_in_an_empty_picture(background: str) -> None:
    """A plain background has neither colours nor shapes."""
    verdict = check(_plain(background), replace(SCENE, background=background))

    assert not verdict.colours_right
    assert not verdict.shapes_right
    assert verdict.figures[0].shape is None


def test_finds_nothing_in_noise() -> None:
    """Noise is neither right in colours nor in shapes, whatever was asked for."""
    pixels = np.random.default_rng(13)
    random = Random(14)

    for _ in range(100):
        picture = pixels.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        verdict = check(picture, random_scene(random))

        assert not verdict.colours_right
        assert not verdict.shapes_right


@pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"square"}))
def test_takes_no_blot_for_a_shape(shape: str) -> None:
    """A window full of the right colour has no shape but a square's."""
    picture = _plain("cream")
    picture[:22, :22] = (40, 90, 230)

    assert not check(picture, Scene((replace(FIGURE, shape=shape),), "cream")).shapes_right


def test_sees_a_figure_of_two_colours() -> None:
    """Half a figure in another colour is no figure of its shape."""
    figure = replace(FIGURE, size="large", shape="circle")
    picture = draw(Scene((figure,), "cream"))
    other = draw(Scene((replace(figure, colour="orange"),), "cream"))
    picture[:, :11] = other[:, :11]

    verdict = check(picture, Scene((figure,), "cream"))

    assert not (verdict.colours_right and verdict.shapes_right)


def test_bears_a_little_noise_and_a_small_shift() -> None:
    """What a person would call right is right: a shift of a pixel and faint noise."""
    noise = np.random.default_rng(15).normal(0, 6, (SIDE, SIDE, 3))
    picture = draw(SCENE, [Nudge(1.0, -1.0, 1.05)]) + noise

    verdict = check(picture.clip(0, 255).astype(np.uint8), SCENE)

    assert verdict.colours_right
    assert verdict.shapes_right


def test_refuses_what_is_no_picture() -> None:
    """Another size or type is an error that says what came."""
    with pytest.raises(ValueError, match=r"this one is float32 \[64, 64, 3\]"):
        check(draw(SCENE).astype(np.float32), SCENE)
    with pytest.raises(ValueError, match=r"this one is uint8 \[32, 64, 3\]"):
        check(draw(SCENE)[:32], SCENE)
