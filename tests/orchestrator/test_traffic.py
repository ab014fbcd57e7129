"""Traffic: a weighted split."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from torchloom.traffic import Traffic


def test_gives_each_version_its_share_without_bursts() -> None:
    """Over any round the counts are exact, and the smaller share is spread out."""
    traffic = Traffic({1: 3.0, 2: 1.0})
    picks = [traffic.pick() for _ in range(40)]
    assert Counter(picks) == {1: 30, 2: 10}
    assert all(Counter(picks[i : i + 4]) == {1: 3, 2: 1} for i in range(0, 40, 4))


def test_gives_nothing_to_a_weight_of_zero() -> None:
    """A version with weight 0 gets no request."""
    traffic = Traffic({1: 1.0, 2: 0.0})
    assert {traffic.pick() for _ in range(20)} == {1}


def test_gives_everything_to_the_only_version() -> None:
    """With one version there is no choice."""
    assert Traffic({7: 0.5}).pick() == 7


@pytest.mark.parametrize(
    "weights",
    [{}, {1: -1.0, 2: 5.0}, {1: 0.0}, {1: math.inf}, {1: math.nan}, {1: 1.0, 2: math.nan}],
)
def test_refuses_weights_that_split_nothing(weights: dict[int, float]) -> None:
    """Weights are finite, at least 0, and one is above 0."""
    with pytest.raises(ValueError, match="weights of at least 0"):
        Traffic(weights)
