"""Tests of schemas for the OpenAPI document: structs are told by name, with what they hold."""

from __future__ import annotations

import msgspec
import pytest

from torchloom_api.openapi_schema import refer, to_content, to_schemas


class Leaf(msgspec.Struct):
    """A part."""

    size: int


class Tree(msgspec.Struct):
    """A body: a part, and what is read by hand."""

    leaf: Leaf
    value: object


class Odd(msgspec.Struct):
    """What JSON has no word for."""

    value: complex


def test_tells_structs_and_what_they_hold() -> None:
    """A struct refers to its parts by name; what is checked by hand says so."""
    schemas = to_schemas([Tree])

    assert set(schemas) == {"Tree", "Leaf"}
    assert schemas["Tree"]["properties"] == {
        "leaf": refer(Leaf),
        "value": {"description": "Checked when it is read."},
    }


def test_describes_a_body() -> None:
    """It refers to the struct."""
    assert to_content(Leaf) == {
        "application/json": {"schema": {"$ref": "#/components/schemas/Leaf"}}
    }


def test_refuses_what_json_has_no_word_for() -> None:
    """A fault of ours shows when the document is made."""
    with pytest.raises(TypeError, match="complex"):
        to_schemas([Odd])
