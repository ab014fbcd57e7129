"""Filters become SQL whose text holds nothing that a caller wrote."""

from __future__ import annotations

import json

import pytest
from psycopg import sql

from torchloom_models.index.condition import OPERATORS, parse_filter
from torchloom_models.index.where import to_where


HOSTILE = "x'); DROP TABLE passages; -- \" %s {} $1"


def render(composed: sql.Composable) -> str:
    """Give the text that the server is sent."""
    return composed.as_string()


def test_lets_everything_pass_without_conditions() -> None:
    """No condition is a condition that always holds."""
    text, values = to_where(())
    assert (render(text), values) == ("true", [])


def test_joins_conditions_with_and_in_order() -> None:
    """Parameters stand in the order of their places."""
    text, values = to_where(parse_filter({"a": 1, "b": {"exists": True}, "c": {"in": ["x", 2]}}))
    assert render(text).count(" AND ") == 3
    assert values == ["a", "[1]", "b", "c", '["x", 2]']
    assert render(text).count("%s") == len(values)


@pytest.mark.parametrize("operator", OPERATORS)
def test_puts_names_and_values_into_parameters_only(operator: str) -> None:
    """The text is the same, whatever name and value are given."""
    value: object = HOSTILE
    if operator in {"in", "not_in"}:
        value = [HOSTILE]
    elif operator == "exists":
        value = False
    elif operator not in {"eq", "ne"}:
        value = 5
    text, values = to_where(parse_filter({HOSTILE: {operator: value}}))
    plain, _ = to_where(parse_filter({"name": {operator: value if value != HOSTILE else "x"}}))
    assert render(text) == render(plain)
    assert values[0] == HOSTILE
    if operator != "exists":
        assert json.loads(str(values[1])) == (value if isinstance(value, list) else [value])
