"""Constraint: what an answer must look like, checked for form and size. Compiles nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, Self, cast

import jsonschema_rs

from torchloom.errors import InvalidInput


Kind = Literal["json", "lark", "regex"]

#: The most characters of a schema as JSON, of one regular expression, and of all choices together.
_MAX_SCHEMA: Final = 128 * 1024
_MAX_REGEX: Final = 4096
_MAX_CHOICES: Final = 64 * 1024

#: How deep a schema may be nested.
_MAX_DEPTH: Final = 64

#: What the digits of all `multipleOf` may add up to: each takes as many states as its number says.
_MAX_MULTIPLE: Final = 100_000

#: What each form is called in errors, whatever field it came in.
_NAMES: Final = {
    "json": "The JSON Schema",
    "json_object": "The JSON Schema",
    "regex": "The regular expression",
    "choice": "The choice",
}


@dataclass(frozen=True, slots=True)
class Constraint:
    """A JSON Schema (as JSON), a grammar in Lark's form, or a regular expression.

    Two of the same content are equal, whoever asked for them. `name` begins what is said of it.
    """

    kind: Kind
    text: str
    name: str

    @classmethod
    def from_params(cls, values: Mapping[str, object]) -> Self:
        """Read the sampling parameter, whose form is checked. Raises InvalidInput."""
        (kind, value), *_ = values.items()
        name = _NAMES[kind]
        match kind:
            case "json":
                return cls("json", schema_text(cast("Mapping[str, object]", value), name), name)
            case "json_object":
                return cls("json", '{"type": "object"}', name)
            case "regex":
                return cls("regex", _regex_text(str(value), name), name)
            case _:
                return cls("lark", _choice_text(cast("list[str]", value), name), name)


def schema_text(schema: Mapping[str, object], name: str) -> str:
    """Give a schema as JSON. Raises InvalidInput, with the place, for one that is none."""
    for depth, place, key, value in walk(schema):
        if depth > _MAX_DEPTH:
            raise InvalidInput(f"{name} is nested more than {_MAX_DEPTH} deep.")
        if key in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
            message = f"{name} at {place}: {value[:80]!r} is elsewhere, and nothing is fetched."
            raise InvalidInput(f"{message} Put it into `$defs`, and refer to '#/$defs/…'.")
        if key == "pattern" and isinstance(value, str):
            _regex_text(value, f"{name} at {place}")
    text = json.dumps(schema, ensure_ascii=False)
    if len(text) > _MAX_SCHEMA:
        raise InvalidInput(f"{name} has {len(text)} characters: {_MAX_SCHEMA} are the most.")
    _check_form(schema, name)
    _check_multiples(schema, name)
    return text


def walk(value: object) -> Iterator[tuple[int, str, str, object]]:
    """Give depth, place (a JSON pointer), last key and value of all that is in a value."""
    stack: list[tuple[int, str, str, object]] = [(0, "", "", value)]
    while stack:
        entry = stack.pop()
        yield entry
        depth, place, _, inner = entry
        entries: Iterator[tuple[object, object]] = iter(())
        if isinstance(inner, Mapping):
            entries = iter(inner.items())
        elif isinstance(inner, list | tuple):
            entries = iter(enumerate(inner))
        stack += [(depth + 1, f"{place}/{key}", str(key), each) for key, each in entries]


def _check_form(schema: Mapping[str, object], name: str) -> None:
    # A `$schema` would be fetched; the newest draft's words hold whatever it says.
    own = {key: value for key, value in schema.items() if key != "$schema"}
    try:
        jsonschema_rs.meta.validate(own)
    except jsonschema_rs.ValidationError as error:
        place = "".join(f"/{step}" for step in error.instance_path)
        what = f" at {place}" if place else ""
        raise InvalidInput(f"{name}{what} is not valid: {error.message[:300]}.") from None
    except ValueError as error:
        raise InvalidInput(f"{name} is not valid: {error}") from None


def _check_multiples(schema: Mapping[str, object], name: str) -> None:
    total = 0
    for _, place, key, value in walk(schema):
        if key != "multipleOf" or not isinstance(value, int | float):
            continue
        digits = Decimal(str(value)).normalize().as_tuple().digits
        total += int("".join(map(str, digits)))
        if total > _MAX_MULTIPLE:
            message = f"{name} at {place}: a multiple of {value} has too many digits to be kept."
            raise InvalidInput(message)


def _regex_text(regex: str, name: str) -> str:
    if len(regex) > _MAX_REGEX:
        raise InvalidInput(f"{name} has {len(regex)} characters: {_MAX_REGEX} are the most.")
    return regex


def _choice_text(choices: list[str], name: str) -> str:
    size = sum(map(len, choices))
    if size > _MAX_CHOICES:
        raise InvalidInput(f"{name} has {size} characters: {_MAX_CHOICES} are the most.")
    # In capitals it is one word, however many forms it has.
    return f"start: CHOICE\nCHOICE: {' | '.join(literal(each) for each in choices)}"


def literal(text: str) -> str:
    """Write text as Lark does."""
    return json.dumps(text, ensure_ascii=False)
