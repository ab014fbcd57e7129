"""Traffic: a weighted split."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from torchloom.traffic import Shadow, Traffic


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


@pytest.mark.parametrize(("percent", "num_copies"), [(100.0, 40), (25.0, 10), (2.5, 1), (0.1, 0)])
def test_spreads_copies_evenly(percent: float, num_copies: int) -> None:
    """A shadow gets its share of what the others answer, and none of its own."""
    traffic = Traffic({1: 1.0}, Shadow(version=2, percent=percent))
    copied = [traffic.pick_shadow(1) for _ in range(40)]

    assert copied.count(2) == num_copies
    assert copied.count(None) == 40 - num_copies
    assert [traffic.pick_shadow(2) for _ in range(40)] == [None] * 40
    assert {traffic.pick() for _ in range(4)} == {1}


def test_copies_nothing_without_a_shadow() -> None:
    """A split alone has none."""
    assert Traffic({1: 1.0, 2: 1.0}).pick_shadow(1) is None


@pytest.mark.parametrize("percent", [0.0, -1.0, 100.5, math.nan, math.inf])
def test_refuses_a_share_that_is_none(percent: float) -> None:
    """It is more than nothing, and no more than all."""
    with pytest.raises(ValueError, match="above 0, and of 100 at most"):
        Traffic({1: 1.0}, Shadow(version=2, percent=percent))


def test_refuses_a_shadow_that_answers() -> None:
    """Who answers requests is no shadow; a weight of zero is none."""
    with pytest.raises(ValueError, match="Version 2 cannot be the shadow"):
        Traffic({1: 1.0, 2: 0.5}, Shadow(version=2, percent=1.0))
    assert Traffic({1: 1.0, 2: 0.0}, Shadow(version=2, percent=1.0)).shadow is not None
