"""Filters are read strictly: what is wrong is named, and how to mend it."""

from __future__ import annotations

import pytest

from torchloom.errors import InvalidInput
from torchloom_models.index.condition import MAX_CONDITIONS, Condition, parse_filter


@pytest.mark.parametrize("given", [None, {}])
def test_lets_everything_pass_without_conditions(given: object) -> None:
    """No filter and an empty one are the same."""
    assert parse_filter(given) == ()


def test_reads_values_and_operators() -> None:
    """A plain value means equality; several operators on one field must all hold."""
    given = {"a": "x", "year": {"gte": 2020, "lt": 2030.5}, "tag": {"in": ["p", 1, True]}}
    assert parse_filter(given) == (
        Condition("a", "eq", ("x",)),
        Condition("year", "gte", (2020,)),
        Condition("year", "lt", (2030.5,)),
        Condition("tag", "in", ("p", 1, True)),
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a = 1", "a mapping such as .* not a str"),
        ([], "not a list"),
        ({"": 1}, "no field name"),
        ({1: 1}, "no field name"),
        ({"a\x00b": 1}, "a field name"),
        ({"a": {}}, "no operator"),
        ({"a": {"gtee": 1}}, "unknown operator 'gtee'. Did you mean 'gte'"),
        ({"a": {"$where": "1 == 1"}}, "unknown operator"),
        ({"a": None}, "exists"),
        ({"a": [1, 2]}, '{"in": '),
        ({"a": {"eq": {"b": 1}}}, "not dict"),
        ({"a": {"in": "x"}}, "a list of 1 to 1000"),
        ({"a": {"in": []}}, "a list of 1 to 1000"),
        ({"a": {"in": list(range(1001))}}, "a list of 1 to 1000"),
        ({"a": {"in": [[1]]}}, "in"),
        ({"a": {"lt": "2024-01-01"}}, "only numbers are compared"),
        ({"a": {"lt": True}}, "only numbers are compared"),
        ({"a": {"exists": 1}}, "true or false"),
        ({"a": float("nan")}, "nan is no number"),
        ({"a": {"gt": float("inf")}}, "inf is no number"),
        ({"a": 2**53 + 1}, "2\\^53"),
        ({"a": "x" * 10_001}, "at most 10000"),
        ({"a": "\ud800"}, "whole characters"),
        ({"a": "x\x00"}, "without NUL"),
        ({"a": b"x"}, "not bytes"),
        ({str(n): n for n in range(MAX_CONDITIONS + 1)}, "65 conditions; at most 64"),
    ],
)
def test_refuses_what_no_store_should_see(given: object, message: str) -> None:
    """Wrong shapes, types, sizes and characters stop here, with a reason."""
    with pytest.raises(InvalidInput, match=message):
        parse_filter(given)
