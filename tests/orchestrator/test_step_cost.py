"""StepCost: fixed and per-task cost, learned."""

from __future__ import annotations

import pytest

from torchloom.step_cost import StepCost


def _learn(steps: list[tuple[int, float]]) -> StepCost:
    cost = StepCost()
    for size, seconds in steps:
        cost.observe(size, seconds)
    return cost


def test_knows_nothing_at_first() -> None:
    """Before the first step there is no mean, no line, and any batch is large enough."""
    cost = StepCost()
    assert (cost.mean_s, cost.line(), cost.enough(32)) == (0.0, None, 32)
    assert cost.expected_s(4) == 0.0


def test_needs_two_sizes_for_a_line() -> None:
    """Steps of one size tell their mean, and nothing of what another task would cost."""
    cost = _learn([(4, 0.2)] * 50)
    assert cost.mean_s == pytest.approx(0.2)
    assert cost.expected_s(8) == pytest.approx(0.2)
    assert cost.line() is None
    assert cost.enough(32) == 32


def test_finds_fixed_and_per_task_cost() -> None:
    """Exact steps give back the line that they were made of."""
    cost = _learn([(n, 0.010 + 0.002 * n) for n in (1, 2, 4, 8) * 5])
    line = cost.line()
    assert line is not None
    assert line == pytest.approx((0.010, 0.002))
    assert cost.expected_s(16) == pytest.approx(0.042)


def test_gives_neither_cost_below_zero() -> None:
    """Noise that would make a cost negative makes it zero."""
    falling = _learn([(1, 0.2), (8, 0.1)] * 5)
    assert falling.line() == pytest.approx((0.15, 0.0), abs=0.01)
    assert falling.enough(16) == 16
    steep = _learn([(1, 0.01), (8, 0.2)] * 5).line()
    assert steep is not None
    assert steep[0] == 0.0


def test_says_which_batch_is_large_enough() -> None:
    """The smallest batch with 95 % of the best throughput: 19 times fixed over per-task."""
    cost = _learn([(n, 0.010 + 0.010 * n) for n in (1, 2, 4)] * 5)
    assert cost.enough(100) == 19
    assert cost.enough(8) == 8
    assert _learn([(n, 0.1 * n) for n in (1, 2)] * 5).enough(8) == 1


def test_forgets_what_is_old() -> None:
    """A model that has become faster is believed within a few hundred steps."""
    cost = _learn([(n, 1.0) for n in (1, 2)] * 100 + [(n, 0.1) for n in (1, 2)] * 200)
    assert cost.mean_s == pytest.approx(0.1, rel=0.01)
