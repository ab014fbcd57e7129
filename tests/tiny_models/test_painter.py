"""Painting prompts in batches, and the score over them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest


torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from examples.tiny_models.drawer import draw  # noqa: E402 - only where diffusers is installed
from examples.tiny_models.painter import make_scenes, paint, score_pictures  # noqa: E402
from examples.tiny_models.scenes import COLOURS, parse  # noqa: E402


class Draftsman:
    """Stands for a pipeline: draws what each prompt says, one colour aside on request."""

    def __init__(self, *, wrong_every: int = 0) -> None:
        self.wrong_every = wrong_every
        self.images: list[np.ndarray] = []
        self.seeds: list[int] = []
        self.sizes: list[int] = []

    def __call__(
        self,
        prompts: list[str],
        *,
        generator: list[torch.Generator],
        num_inference_steps: int,
        guidance_scale: float,
        output_type: str,
    ) -> Draftsman:
        """Draw as float [n, 64, 64, 3] from 0 to 1."""
        assert (num_inference_steps, guidance_scale, output_type) == (8, 1.5, "np")
        self.sizes.append(len(prompts))
        self.images = []
        for prompt, one in zip(prompts, generator, strict=True):
            scene = parse(prompt)
            assert scene is not None
            self.seeds.append(one.initial_seed())
            if self.wrong_every and len(self.seeds) % self.wrong_every == 0:
                figure = scene.figures[0]
                other = next(colour for colour in COLOURS if colour != figure.colour)
                scene = replace(scene, figures=(replace(figure, colour=other), *scene.figures[1:]))
            self.images.append(draw(scene))
        self.images = np.stack(self.images) / 255
        return self


def test_paints_in_order_with_a_seed_each() -> None:
    """Batches do not change the order or the seed of a picture."""
    scenes = make_scenes(7, seed=1)
    pipeline = Draftsman()

    pictures = paint(
        pipeline,
        [scene.to_prompt() for scene in scenes],
        num_steps=8,
        guidance=1.5,
        seed=100,
        batch_size=3,
    )

    assert pipeline.sizes == [3, 3, 1]
    assert pipeline.seeds == list(range(100, 107))
    for picture, scene in zip(pictures, scenes, strict=True):
        assert np.array_equal(picture, draw(scene))


def test_scores_what_is_right() -> None:
    """A quarter of wrong colours costs a quarter of the colours, and no shapes."""
    scores = score_pictures(
        Draftsman(wrong_every=4), num_prompts=40, seed=2, num_steps=8, guidance=1.5
    )

    assert scores == {"colours_right": 0.75, "shapes_right": 1.0, "sizes_right": 1.0}
