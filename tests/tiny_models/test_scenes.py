"""The scene language: parsing, saying and drawing at random."""

from __future__ import annotations

from random import Random

import pytest

from examples.tiny_models.scenes import Figure, Scene, parse, random_scene


def test_parses_what_it_says() -> None:
    """Every random scene survives being said and parsed again."""
    random = Random(3)

    for _ in range(500):
        scene = random_scene(random)

        assert scene == parse(scene.to_prompt())


def test_reads_the_documented_line() -> None:
    """The line that the documentation shows is in the language."""
    expected = Scene((Figure("small", "red", "circle", "at the top left"),), "white")

    assert expected == parse("a small red circle at the top left on a white background")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "a red circle",
        "a small red circle at the top left",
        "a small red circle at the top left on a white background.",
        "a small crimson circle at the top left on a white background",
        "a small red circle at the top and a large blue ring at the top on a white background",
        "1. a small red circle in the centre on a white background",
    ],
)
def test_refuses_lines_outside_the_language(line: str) -> None:
    """A line with other words, another order or two figures at one place is not a scene."""
    assert parse(line) is None
