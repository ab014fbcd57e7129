"""Method: what expressions may call."""

from __future__ import annotations

import pytest

from torchloom_workflows.meter import Meter, TooMuch
from torchloom_workflows.method import FUNCTIONS, METHODS, find_method
from torchloom_workflows.operation import Function, Refused


def _call(value: object, name: str, *arguments: object) -> object:
    method = find_method(value, name)
    assert isinstance(method, Function)
    return method.run(Meter(), *arguments)


@pytest.mark.parametrize(
    ("value", "name", "arguments", "result"),
    [
        ("a,b", "split", (",",), ["a", "b"]),
        ("a.b", "partition", (".",), ["a", ".", "b"]),
        ("Ab", "lower", (), "ab"),
        ("abc", "startswith", ("ab",), True),
        ("-", "join", (["a", 1],), "a-1"),
        ("aa", "replace", ("a", "b"), "bb"),
        ({"a": 1}, "items", (), [("a", 1)]),
        ({"items": 1}, "items", (), [("items", 1)]),
        ({"a": 1}, "keys", (), ["a"]),
        ({"a": 1}, "values", (), [1]),
        ({"a": 1}, "get", ("b", 2), 2),
        ([1, 2, 1], "count", (1,), 2),
        ((1, 2), "index", (2,), 1),
    ],
)
def test_calls_methods(
    value: object, name: str, arguments: tuple[object, ...], result: object
) -> None:
    """Methods of texts, lists and mappings that only read give plain lists and values."""
    assert _call(value, name, *arguments) == result


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("", "format"),
        ("", "format_map"),
        ("", "encode"),
        ("", "ljust"),
        ("", "zfill"),
        ("", "expandtabs"),
        ("", "translate"),
        ([], "append"),
        ([], "sort"),
        ({}, "update"),
        ({}, "pop"),
        (b"", "hex"),
        (1, "bit_length"),
        ("", "__class__"),
        ({}, "__init__"),
    ],
)
def test_has_no_other_methods(value: object, name: str) -> None:
    """What changes a value, grows without bound or leads into Python is not there."""
    with pytest.raises(Refused, match="has no method"):
        find_method(value, name)


def test_offers_nothing_that_changes_a_value() -> None:
    """No method of the table mutates: lists and mappings keep what they hold."""
    values: list[object] = [[1], {"a": 1}]
    for value in values:
        before = repr(value)
        for name in METHODS[
            list if isinstance(value, list) else next(k for k in METHODS if k.__name__ == "Mapping")
        ]:
            try:
                _call(value, name, 1)
            except (TypeError, ValueError):
                _call(value, name) if name in ("items", "keys", "values") else None
        assert repr(value) == before


def test_bounds_range() -> None:
    """A range is a list, and is charged for before it is made."""
    run = FUNCTIONS["range"].run
    assert run(Meter(), 3) == [0, 1, 2]
    assert run(Meter(), 5, 1, -2) == [5, 3]
    for bounds in ((10**9,), (0, -(10**30), -1)):
        with pytest.raises(TooMuch):
            run(Meter(), *bounds)
    with pytest.raises(ValueError, match="zero"):
        run(Meter(), 0, 1, 0)


def test_makes_mappings_of_data() -> None:
    """`dict()` makes a mapping, and takes no tools in."""
    run = FUNCTIONS["dict"].run
    assert run(Meter(), a=1) == {"a": 1}
    with pytest.raises(Refused):
        run(Meter(), a=FUNCTIONS["range"])
