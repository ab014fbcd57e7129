"""How many rows are worth a step together."""

from __future__ import annotations

from torchloom_models.diffusion.pace import Pace


SIZE, OTHER = (64, 64), (128, 64)


def _learn(fixed_s: float, per_row_s: float) -> Pace:
    pace = Pace()
    for rows in (2, 4, 2, 8):
        pace.observe(SIZE, rows, fixed_s + per_row_s * rows)
    return pace


def test_takes_all_as_long_as_too_little_is_known() -> None:
    """Nothing is held back before steps of two lengths have been seen, of each size by itself."""
    assert Pace().enough(SIZE, 8) == 8
    assert _learn(0.0, 0.01).enough(OTHER, 8) == 8


def test_takes_all_where_a_step_costs_the_same_whatever_its_rows() -> None:
    """A device with room to spare draws them together."""
    assert _learn(0.1, 0.001).enough(SIZE, 8) == 8


def test_takes_few_where_every_row_costs_as_much() -> None:
    """More together would only make the first ones wait for the others."""
    assert _learn(0.002, 0.01).enough(SIZE, 8) == 2
    assert _learn(0.0, 0.01).enough(SIZE, 8) == 1
