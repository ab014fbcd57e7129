"""The autoencoder of the tiny Stable Diffusion: its shapes, its training and its score."""

from __future__ import annotations

from random import Random

import pytest


torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from examples.tiny_models.autoencoder import (  # noqa: E402 - only where diffusers is installed
    encode,
    make_autoencoder,
    score_autoencoder,
    train_autoencoder,
)
from examples.tiny_models.gallery import draw_nudged, make_scene, to_pixels  # noqa: E402
from examples.tiny_models.schedule import Clock  # noqa: E402
from examples.tiny_models.stencil import Stencils  # noqa: E402


pytestmark = pytest.mark.slow
CPU = torch.device("cpu")


def _pixels(seed: int) -> torch.Tensor:
    random = Random(seed)
    return to_pixels([draw_nudged(make_scene(random), random) for _ in range(16)])


def test_learns_to_write_what_it_read() -> None:
    """A few steps bring it nearer to the drawings, and latents come out with a spread of one."""
    torch.manual_seed(1)
    autoencoder = make_autoencoder()
    pixels = _pixels(1)
    with torch.no_grad():
        before = (autoencoder(pixels).sample - pixels).square().mean()

    stencils = Stencils.cut(Random(2), CPU, num_nudged=2)
    with Clock("autoencoder", num_steps=80) as clock:
        train_autoencoder(autoencoder, stencils, clock, seed=1, batch_size=16)

    with torch.no_grad():
        after = (autoencoder(pixels).sample - pixels).square().mean()
    latents = encode(autoencoder, pixels)
    assert after < 0.8 * before
    assert latents.shape == (16, 4, 16, 16)
    assert 0.7 < latents.std() < 1.4


def test_scores_nothing_right_before_training() -> None:
    """An untrained autoencoder keeps neither colours nor shapes."""
    torch.manual_seed(1)

    scores = score_autoencoder(make_autoencoder(), num_scenes=20, seed=1, device=CPU)

    assert scores == {"colours_kept": 0.0, "shapes_kept": 0.0}
