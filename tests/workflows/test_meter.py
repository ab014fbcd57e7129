"""Meter: the bounds of one evaluation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchloom_workflows.meter import (
    MAX_BITS,
    MAX_CHARS,
    MAX_DEPTH,
    MAX_UNITS,
    Meter,
    TooMuch,
    check_int,
    weigh,
)


def test_takes_units_until_none_are_left() -> None:
    """The last unit may be used, and no more."""
    meter = Meter()
    meter.charge(MAX_UNITS)
    with pytest.raises(TooMuch, match="too long"):
        meter.charge(1)


@pytest.mark.parametrize("units", [0, -1, -(10**9)])
def test_never_gives_units_back(units: int) -> None:
    """A charge takes one unit at least."""
    meter = Meter()
    meter.charge(units)
    assert meter.units_left == MAX_UNITS - 1


def test_bounds_the_text_that_is_put_out() -> None:
    """Characters are counted over the whole evaluation."""
    meter = Meter()
    meter.charge_text(MAX_CHARS)
    with pytest.raises(TooMuch, match="characters"):
        meter.charge_text(1)


def test_bounds_a_text_on_the_way() -> None:
    """No text that is made on the way may be longer than what may be put out."""
    with pytest.raises(TooMuch, match="a text is too long"):
        Meter().charge_items("ab", MAX_CHARS)


def test_stops_weighing_once_it_is_too_much() -> None:
    """Lists that hold one another twice take no memory, and are weighed as if they did."""
    value: list[object] = [1]
    for _ in range(MAX_DEPTH - 4):
        value = [value, value]
    with pytest.raises(TooMuch):
        Meter().charge_whole(value)


def test_refuses_what_is_too_deep() -> None:
    """Depth is bounded, since so many things that follow recurse."""
    value: list[object] = []
    for _ in range(MAX_DEPTH):
        value = [value]
    with pytest.raises(TooMuch, match="deep"):
        weigh(value, 10**9)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=200),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    )
)
def test_weighs_no_less_than_what_is_there(value: object) -> None:
    """Every value, key and sixteen characters weigh one at least."""

    def count(part: object) -> int:
        if isinstance(part, dict):
            return 1 + sum(1 + count(inner) for inner in part.values())
        if isinstance(part, list):
            return 1 + sum(map(count, part))
        return 1 + (len(part) // 16 if isinstance(part, str) else 0)

    assert weigh(value, 10**9) >= count(value)


def test_bounds_whole_numbers() -> None:
    """A whole number has a largest size."""
    assert check_int(2**MAX_BITS - 1) == 2**MAX_BITS - 1
    with pytest.raises(TooMuch):
        check_int(-(2**MAX_BITS))
