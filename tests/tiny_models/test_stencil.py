"""Stencils: as the drawer draws, only faster."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest


torch = pytest.importorskip("torch")

from examples.tiny_models.drawer import draw, random_nudge  # noqa: E402 - needs torch
from examples.tiny_models.gallery import make_scene, to_pictures  # noqa: E402
from examples.tiny_models.stencil import Stencils  # noqa: E402


CPU = torch.device("cpu")


class _OneNudge(Random):
    """Gives the same share of every range, so that all figures are nudged alike."""

    def uniform(self, a: float, b: float) -> float:
        """Give a value past the middle."""
        return a + 0.7 * (b - a)


def test_draws_what_the_drawer_draws() -> None:
    """Scenes of few and of many figures come out the same to the bit."""
    random = Random(1)
    nudge = random_nudge(_OneNudge())
    stencils = Stencils.cut(_OneNudge(), CPU, num_nudged=1)
    scenes = [make_scene(random, max_figures=5) for _ in range(20)]

    pictures = to_pictures(stencils.draw(scenes, random))

    assert {len(scene.figures) for scene in scenes} >= {1, 5}
    for scene, picture in zip(scenes, pictures, strict=True):
        assert np.array_equal(picture, draw(scene, [nudge] * len(scene.figures)))


def test_draws_a_scene_in_several_ways() -> None:
    """With two stencils a figure, a scene has more than one drawing, and a seed has one."""
    stencils = Stencils.cut(Random(1), CPU, num_nudged=2)
    scene = make_scene(Random(2))

    pixels = stencils.draw([scene] * 20, Random(3))

    assert len(pixels.unique(dim=0)) > 1
    assert torch.equal(pixels, stencils.draw([scene] * 20, Random(3)))
