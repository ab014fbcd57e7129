"""Schema path: what is certain of a value from its schema."""

from __future__ import annotations

import pytest

from torchloom.signature import Schema
from torchloom_workflows.schema_path import NoSuchPath, can_fit, schema_at, types_of


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        ({"type": "string"}, {"string"}),
        ({"type": ["integer", "null"]}, {"integer", "null"}),
        ({"anyOf": [{"type": "string"}, {"type": "array"}]}, {"string", "array"}),
        ({"oneOf": [{"type": "string"}, {}]}, None),
        ({}, None),
        ({"minimum": 1}, None),
    ],
)
def test_tells_types_where_they_are_certain(schema: Schema, types: set[str] | None) -> None:
    """Where a schema leaves the type open, so does the answer."""
    assert types_of(schema) == types


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        (frozenset({"string"}), frozenset({"integer"}), False),
        (frozenset({"integer"}), frozenset({"number"}), True),
        (frozenset({"number"}), frozenset({"integer"}), True),
        (frozenset({"string", "null"}), frozenset({"null"}), True),
        (None, frozenset({"string"}), True),
        (frozenset({"string"}), None, True),
    ],
)
def test_tells_what_can_fit(
    given: frozenset[str] | None, wanted: frozenset[str] | None, fits: object
) -> None:
    """Types fit if one of them may; a number may be a whole one."""
    assert can_fit(given, wanted) is fits


_DOCUMENTS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "additionalProperties": False,
    },
}


def test_follows_a_path() -> None:
    """Positions lead into items, and names into properties."""
    assert schema_at(_DOCUMENTS, (0, "text"), "d") == {"type": "string"}
    assert schema_at({"type": "object"}, ("x", "y"), "d") == {}
    assert schema_at({}, ("x",), "d") == {}
    assert schema_at({"type": "string"}, (0,), "d") == {"type": "string"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("text",), "d is a list: it has no 'text' in it, only its items may have."),
        ((0, "txet"), "d[0] has no 'txet' in it. Did you mean 'text'?"),
        ((0, "text", "x"), "d[0].text is a string: it has no 'x' in it."),
    ],
)
def test_says_where_a_path_leads_nowhere(keys: tuple[str | int, ...], message: str) -> None:
    """The message names the part that was reached."""
    with pytest.raises(NoSuchPath) as caught:
        schema_at(_DOCUMENTS, keys, "d")
    assert str(caught.value) == message
