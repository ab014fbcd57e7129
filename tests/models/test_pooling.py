"""From hidden states of tokens to one vector a text."""

from __future__ import annotations

import math

import pytest
import torch

from torchloom_models.pooling import Pooling, PoolingMode


pytestmark = pytest.mark.slow

#: Two texts of one dimension: three tokens, and one token with two of padding.
HIDDEN = torch.tensor([[[1.0], [5.0], [3.0]], [[-2.0], [9.0], [9.0]]])
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    [
        ("mean", 3.0, -2.0),
        ("cls", 1.0, -2.0),
        ("max", 5.0, -2.0),
        ("last", 3.0, -2.0),
        ("mean_sqrt_length", 9 / math.sqrt(3), -2.0),
        ("weighted_mean", (1 + 10 + 9) / 6, -2.0),
    ],
)
def test_pools_the_tokens_and_never_the_padding(
    mode: PoolingMode, first: float, second: float
) -> None:
    """Each mode gives what its name says, whatever the padding holds."""
    vectors = Pooling([mode])(HIDDEN, MASK)

    torch.testing.assert_close(vectors, torch.tensor([[first], [second]]))


def test_joins_several_modes() -> None:
    """Two modes give a vector of twice the size, in float32 whatever comes."""
    vectors = Pooling(["cls", "max"])(HIDDEN.bfloat16(), MASK)

    torch.testing.assert_close(vectors, torch.tensor([[1.0, 5.0], [-2.0, -2.0]]))


def test_shows_its_modes() -> None:
    """Compiled code depends on them, and is told apart by what a module shows."""
    assert repr(Pooling(["cls", "max"])) == "Pooling(cls, max)"
