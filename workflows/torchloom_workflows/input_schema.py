"""Input schema: checks what a workflow file declares under `inputs`. Knows no node and no run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import jsonschema_rs

from torchloom.departure import SchemaCheck
from torchloom.document import Document
from torchloom.errors import Fault, nearest
from torchloom.signature import Schema


_META_SCHEMA: Schema = {"$ref": "https://json-schema.org/draft/2020-12/schema"}

#: Keywords whose value is a schema, a list of schemas, or schemas by name.
_ONE = frozenset(
    [
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    ]
)
_MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"dependentSchemas", "patternProperties", "properties"})

_PLAIN = frozenset(
    [
        "const",
        "contentEncoding",
        "contentMediaType",
        "default",
        "dependentRequired",
        "deprecated",
        "description",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
        "readOnly",
        "required",
        "title",
        "type",
        "uniqueItems",
        "writeOnly",
        "$comment",
    ]
)

_KEYWORDS = _ONE | _MANY | _NAMED | _PLAIN


@cache
def _meta_check() -> SchemaCheck:
    return SchemaCheck(_META_SCHEMA)


def check_input(document: Document) -> list[Fault]:
    """Find every fault of one declared input: unknown words, wrong values, an unfit default.

    References (`$ref`) are refused: an input says all about itself.
    """
    schema = document.data
    assert isinstance(schema, dict)
    faults = list(_unknown_words(document))
    faults += [document.fault(d.message, *d.path) for d in _meta_check().find(schema)]
    if faults:
        return faults
    try:
        check = SchemaCheck(schema)
    except jsonschema_rs.ValidationError as bad:
        return [document.fault(_say_unusable(bad), *bad.instance_path)]
    if "default" in schema:
        found = check.find(schema["default"])
        faults += [
            document.fault(f"The default does not fit: {d.message}", "default", *d.path)
            for d in found
        ]
    return faults


def _say_unusable(bad: jsonschema_rs.ValidationError) -> str:
    if "pattern" in bad.instance_path or "patternProperties" in bad.instance_path:
        return (
            "This pattern cannot be used: it is malformed, too large, or has look-around or "
            "back-references, which take no bounded time."
        )
    return f"This schema cannot be used: {bad.message}."


def _unknown_words(document: Document) -> Iterator[Fault]:
    """JSON Schema ignores words it does not know; a slip of the pen would then check nothing."""
    schema = document.data
    if not isinstance(schema, dict):
        return
    for word in schema:
        if word not in _KEYWORDS and not word.startswith("x-"):
            yield document.fault(_say_unknown(word), word, at_key=True)
        elif word in _ONE:
            yield from _unknown_words(document.part(word))
        elif word in _MANY or word in _NAMED:
            yield from _unknown_words_below(document.part(word))


def _unknown_words_below(document: Document) -> Iterator[Fault]:
    inner = document.data
    if isinstance(inner, Mapping):
        for name in inner:
            yield from _unknown_words(document.part(name))
    elif isinstance(inner, list):
        for index in range(len(inner)):
            yield from _unknown_words(document.part(index))


def _say_unknown(word: str) -> str:
    if word.startswith("$"):
        return f"{word!r} is not used in inputs. Write the schema out where it is needed."
    hint = nearest(word, _KEYWORDS)
    return f"JSON Schema has no word {word!r}.{hint} Own words start with 'x-'."
