"""Constraint: what is refused before anything is compiled, with its place."""

from __future__ import annotations

import pytest

from torchloom.errors import InvalidInput
from torchloom_models.llm.grammar.constraint import Constraint
from torchloom_models.llm.sampling_params import SamplingParams


def _nested(depth: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def test_knows_the_same_content_again() -> None:
    """Two of the same content are equal, and can be kept by it."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}

    assert Constraint.from_params({"json": schema}) == Constraint.from_params({"json": {**schema}})
    assert len({Constraint.from_params({"json": schema}) for _ in range(3)}) == 1
    assert Constraint.from_params({"json": schema}) != Constraint.from_params({"json": {}})


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"json": {"properties": {"a": {"type": "strnig"}}}}, "at /properties/a/type"),
        ({"json": {"required": "a"}}, "at /required"),
        ({"json": {"items": {"$ref": "https://127.0.0.1/x"}}}, "at /items/$ref: 'https://127.0"),
        ({"json": {"$ref": "other.json#/a"}}, "nothing is fetched"),
        ({"json": _nested(70)}, "nested more than 64 deep"),
        ({"json": _nested(5000)}, "nested more than 64 deep"),
        ({"json": {"enum": ["x" * 1000] * 200}}, "131072 are the most"),
        ({"json": {"properties": {"a": {"pattern": "a?" * 3000}}}}, "at /properties/a/pattern"),
        ({"json": {"multipleOf": 999983}}, "at /multipleOf"),
        ({"json": {"multipleOf": 0.000999983}}, "at /multipleOf"),
        ({"json": {"anyOf": [{"multipleOf": 90001}, {"multipleOf": 90007}]}}, "/multipleOf"),
        ({"regex": "a?" * 3000}, "The regular expression has 6000 characters"),
        ({"choice": [f"{n:<80}" for n in range(1000)]}, "The choice has 80000"),
    ],
)
def test_refuses_what_is_none_or_too_large(form: dict[str, object], says: str) -> None:
    """What and where are told; nothing is fetched, and nothing is compiled."""
    with pytest.raises(InvalidInput) as caught:
        Constraint.from_params(form)

    assert says in caught.value.message


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "https://127.0.0.1:1/none", "type": "object"},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
        {"properties": {"multipleOf": {"type": "string"}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}},
    ],
)
def test_takes_what_is_a_schema(schema: dict[str, object]) -> None:
    """The name of a draft is not looked up, and keys that are no keywords are not read as such."""
    assert Constraint.from_params({"json": schema}).kind == "json"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({}, "at least 1 entry"),
        ({"json_object": True, "regex": "a"}, "at most 1 entry"),
        ({"json_object": False}, "true"),
        ({"regex": ""}, "at least 1 character"),
        ({"choice": []}, "at least 1 item"),
        ({"choice": [3]}, "a string"),
        ({"grammar": "start: a"}, "Unknown key 'grammar'"),
    ],
)
def test_has_exactly_one_form(form: dict[str, object], says: str) -> None:
    """The published table says which forms there are, and one of them is given."""
    with pytest.raises(InvalidInput) as caught:
        SamplingParams().updated({"structured_outputs": form})

    assert says in caught.value.message
