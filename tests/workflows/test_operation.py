"""Operation: the closed set of what expressions may do with values."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from torchloom_workflows.meter import Meter, TooMuch
from torchloom_workflows.operation import (
    Function,
    Refused,
    compute,
    join_texts,
    look_up,
    negate,
    refuse_tool,
    replace_text,
    take_slice,
    to_text,
)
from torchloom_workflows.undefined import Missing


class Trap:
    """Something that is no data, with attributes that must stay out of reach."""

    secret = "x"

    def __getitem__(self, key: object) -> object:
        """Answer positions, as arrays do."""
        return {0: "first"}[key]  # type: ignore[index]  # a KeyError is what the test wants


def test_looks_keys_up_and_never_attributes() -> None:
    """A key of a mapping counts, even one that is named like a method; attributes do not."""
    assert look_up({"items": 1}, "items") == 1
    assert look_up([1, 2], -1) == 2
    assert look_up("abc", 1) == "b"
    assert look_up(Trap(), 0) == "first"
    for value, key in (
        ({}, "items"),
        ([], "append"),
        ("", "format"),
        ("", "__class__"),
        (Trap(), "secret"),
        (Trap(), 1),
        ({"a": 1}, ["a"]),
        (3, 0),
    ):
        assert isinstance(look_up(value, key), Missing)


def test_looks_into_what_is_missing() -> None:
    """Looking into nothing gives the same nothing, so that `default()` works at any depth."""
    missing = Missing(name="a")
    assert look_up(missing, "b") is missing


@pytest.mark.parametrize(
    ("sign", "left", "right", "value"),
    [
        ("+", 1, 2.5, 3.5),
        ("-", True, 1, 0),
        ("//", 7, 2, 3),
        ("%", 7, 4, 3),
        ("**", 2, 10, 1024),
        ("**", 2, -1, 0.5),
        ("+", "a", "b", "ab"),
        ("+", [1], [2], [1, 2]),
        ("*", "ab", 3, "ababab"),
        ("*", 2, [0], [0, 0]),
        ("*", "ab", -1, ""),
    ],
)
def test_computes(sign: str, left: object, right: object, value: object) -> None:
    """Numbers can be computed with; texts and lists can be added, and repeated."""
    assert compute(Meter(), sign, left, right) == value


@pytest.mark.parametrize(
    ("sign", "left", "right"),
    [
        ("%", "%99999999d", 1),
        ("+", "a", 1),
        ("+", [1], (1,)),
        ("-", "a", "b"),
        ("*", {}, 2),
        ("*", "a", 2.0),
        ("**", -8, 0.5),
        ("+", b"a", b"b"),
    ],
)
def test_refuses_what_has_no_meaning(sign: str, left: object, right: object) -> None:
    """Anything else is refused, formatting by `%` above all."""
    with pytest.raises(Refused):
        compute(Meter(), sign, left, right)


@pytest.mark.parametrize(
    ("sign", "left", "right"),
    [
        ("**", 10, 10**9),
        ("**", -(2**4000), 2),
        ("*", "a", 10**12),
        ("*", [0], 10**9),
        ("*", 2**4095, 2),
    ],
)
def test_begins_nothing_large(sign: str, left: object, right: object) -> None:
    """The size of the result is known before it is made."""
    with pytest.raises(TooMuch):
        compute(Meter(), sign, left, right)


def test_negates_numbers_alone() -> None:
    """`-` before anything else is refused."""
    assert negate("-", 3) == -3
    assert negate("+", 3) == 3
    with pytest.raises(Refused):
        negate("-", "a")


def test_slices_texts_and_lists() -> None:
    """Slices mean what they mean in Python."""
    assert take_slice(Meter(), "abc", None, None, -1) == "cba"
    assert take_slice(Meter(), [1, 2, 3], 1, None, None) == [2, 3]
    with pytest.raises(Refused):
        take_slice(Meter(), {}, 1, 2, None)


def test_writes_data_as_text() -> None:
    """Values are written as Jinja2 writes them; what is no data is not written."""
    for value, text in (("a", "a"), (1, "1"), (None, "None"), (True, "True"), ([1], "[1]")):
        assert to_text(Meter(), value) == text
    for thing in (b"x", Trap(), {1}):
        with pytest.raises(Refused, match="cannot be written as text"):
            to_text(Meter(), thing)
    with pytest.raises(UndefinedError):
        to_text(Meter(), Missing(name="a"))


def test_joins_and_replaces_within_bounds() -> None:
    """What a text grows to is worked out before it grows."""
    assert join_texts(Meter(), ["a", 1, None], ", ") == "a, 1, None"
    assert replace_text(Meter(), "aXbX", "X", "-", 1) == "a-bX"
    with pytest.raises(TooMuch):
        join_texts(Meter(), ["a"] * 1000, "x" * 100_000)
    with pytest.raises(TooMuch):
        replace_text(Meter(), "a" * 100_000, "", "x" * 1000)


def test_keeps_tools_out_of_values() -> None:
    """A function or method is no value; the message shows how it is called."""
    with pytest.raises(Refused, match=r"`range\(\)`"):
        refuse_tool(Function("range", range))
