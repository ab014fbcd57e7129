"""Previews: small pictures on the way, from a matrix that stands for the decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pipeline import drain, ends, open_tiny, pixels_of
from torch import Tensor

from torchloom.engine import Chunk, Work
from torchloom_models.diffusion.preview import Previewer


class LinearEncoder:
    """Encodes colours as linear latents, as a good autoencoder nearly does."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Give the mean of every patch of two by two, in other units."""
        return torch.nn.functional.avg_pool2d(pixels, 2) * 3.0 + 0.5

    def sample(self, moments: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw nothing."""
        assert generator is None
        return moments


def test_finds_the_colours_of_latents() -> None:
    """Where latents are linear in colours, the fit is exact."""
    previewer = Previewer.fit(LinearEncoder(), 2, "cpu")  # type: ignore[arg-type]  # a fake
    pixels = torch.rand(1, 3, 4, 6)

    shown = previewer.show(torch.nn.functional.avg_pool2d(pixels * 2 - 1, 2) * 3.0 + 0.5)

    wanted = torch.nn.functional.avg_pool2d(pixels, 2)[0].permute(1, 2, 0).numpy() * 255
    assert shown.shape == (2, 3, 3)
    assert np.abs(shown - wanted).max() <= 1


@pytest.mark.parametrize(("every", "number"), [(0, 0), (1, 5), (2, 2), (3, 1), (6, 0)])
def test_comes_every_so_many_steps(stable_diffusion: Path, every: int, number: int) -> None:
    """Previews come after each `preview_every` steps; the last step gives the picture itself."""
    engine = open_tiny(stable_diffusion)
    engine.admit(Work(1, {"prompt": "red", "num_steps": 6, "preview_every": every, "seed": 1}))

    events = drain(engine)

    chunks = [event for event in events if isinstance(event, Chunk)]
    assert len(chunks) == number
    assert all(pixels_of(chunk).shape == (8, 8, 3) for chunk in chunks)
    assert set(ends(events)) == {1}


def test_changes_nothing_in_the_picture(stable_diffusion: Path) -> None:
    """A picture with previews is the picture without."""
    engine = open_tiny(stable_diffusion)
    for number, every in enumerate((0, 1)):
        inputs = {"prompt": "red", "num_steps": 4, "seed": 1, "preview_every": every}
        engine.admit(Work(number, inputs))

    results = ends(drain(engine))

    assert np.abs(pixels_of(results[0]) - pixels_of(results[1])).max() <= 1
