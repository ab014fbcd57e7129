"""Schema: the shape of a workflow file, as one JSON Schema. Knows no model and no reference.

What can be told from one value alone is told here; what takes a look elsewhere is the builder's.
A `$comment` is what is said where a pattern does not match.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import get_args

from torchloom.departure import SchemaCheck
from torchloom.document import Document
from torchloom.errors import Fault
from torchloom.policy import RetryCause
from torchloom.signature import Schema


_TEXT: Schema = {"type": "string"}
_MAPPING: Schema = {"type": "object"}

_IDENTIFIER: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$",
    "$comment": (
        "A name is made of letters, digits and underscores, starts with no digit, and has 64 "
        "characters at most."
    ),
}

_NAME: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$",
    "$comment": (
        "A name is made of letters, digits, '_', '.' and '-', and has 128 characters at most."
    ),
}

_REFERENCE: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@[1-9][0-9]{0,8})?$",
    "$comment": "Write `name`, or `name@version` with a whole number.",
}

_FUNCTION: Schema = {
    "type": "string",
    "pattern": r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
    "$comment": "Write `package.module:name`.",
}


def _object(properties: Mapping[str, Schema], *required: str) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _one_or_more(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "array", "items": schema, "maxItems": 1000}]}


_RETRY = _object(
    {
        "attempts": {"type": "integer", "minimum": 1, "maximum": 100},
        "backoff_s": {"type": "number", "minimum": 0, "maximum": 3600},
        "on": _one_or_more({"type": "string", "enum": list(get_args(RetryCause))}),
    }
)

_TTL: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 31_536_000}

_NODE = _object(
    {
        "description": _TEXT,
        "model": _REFERENCE,
        "function": _FUNCTION,
        "template": {},
        "workflow": _REFERENCE,
        "inputs": {**_MAPPING, "maxProperties": 200},
        "params": {**_MAPPING, "maxProperties": 200},
        "foreach": {"type": ["string", "array"]},
        "limit": {"anyOf": [_TEXT, {"type": "integer", "minimum": 0}]},
        "items": {"type": "string", "minLength": 1, "maxLength": 500},
        "when": {"type": ["string", "boolean"]},
        "after": _one_or_more(_TEXT),
        "retry": _RETRY,
        "timeout_s": {"type": "number", "exclusiveMinimum": 0, "maximum": 604_800},
        "fallback": _object({"value": _MAPPING, "model": _REFERENCE}),
        "cache": {"anyOf": [{"type": "boolean"}, _object({"ttl_s": _TTL})]},
        "repeat": _object(
            {"until": _TEXT, "max": {"type": "integer", "minimum": 1, "maximum": 1000}},
            "until",
            "max",
        ),
        "priority": {"type": "integer", "minimum": -100, "maximum": 100},
        "device": _TEXT,
    }
)


def _by_name(schema: Schema, name: Schema = _IDENTIFIER, *, at_least: int = 0) -> Schema:
    return {
        "type": "object",
        "propertyNames": name,
        "additionalProperties": schema,
        "minProperties": at_least,
        "maxProperties": 1000,
    }


#: The shape of a workflow file, in JSON Schema (2020-12): for editors, and for this checker.
WORKFLOW_SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "TorchLoom workflow",
    **_object(
        {
            "name": _NAME,
            "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
            "description": _TEXT,
            "inputs": _by_name(_MAPPING),
            "nodes": _by_name(_NODE, at_least=1),
            "outputs": _by_name({}, at_least=1),
            "stream": _one_or_more(_TEXT),
            "chat": _by_name({}),
            "models": _by_name(_MAPPING, _NAME),
        },
        "name",
        "nodes",
        "outputs",
    ),
}

#: The keys of a node that say what it calls. A node has exactly one of them.
CALL_KEYS = ("model", "function", "template", "workflow")


@cache
def _check() -> SchemaCheck:
    return SchemaCheck(WORKFLOW_SCHEMA)


def check_shape(document: Document) -> tuple[list[Fault], dict[str, object]]:
    """Find every fault of shape, and give the data without the parts that have one.

    What is left can be trusted to have the shape above, except that required keys may be missing.
    """
    departures = _check().find(document.data)
    faults = [document.fault(d.message, *d.path, at_key=d.at_key) for d in departures]
    if not isinstance(document.data, dict):
        return faults, {}
    bad = {_whole(d.path) for d in departures if not d.is_lack}
    sound = _without(document.data, bad, ())
    assert isinstance(sound, dict)
    return faults, sound


def _whole(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    # A list with a bad element is left out whole: the others would change their places.
    while path and isinstance(path[-1], int):
        path = path[:-1]
    return path


def _without(value: object, bad: set[tuple[str | int, ...]], path: tuple[str | int, ...]) -> object:
    if isinstance(value, dict):
        return {
            key: _without(inner, bad, (*path, key))
            for key, inner in value.items()
            if (*path, key) not in bad
        }
    return value
