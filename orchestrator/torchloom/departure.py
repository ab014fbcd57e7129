"""Departure: where a value leaves its JSON Schema, in our words. Knows no file and no workflow.

jsonschema_rs finds every error; this module words each one, with the nearest known name, and never
repeats a long value to its sender.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import jsonschema_rs

from torchloom.errors import nearest
from torchloom.signature import Schema


#: Patterns run in linear time, whatever the text; hence no look-around and no back-references.
PATTERN_OPTIONS = jsonschema_rs.RegexOptions(size_limit=1 << 20)

_NOUNS: Mapping[str, str] = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}

#: How the keywords that set a bound are worded; those that count things name them.
_LIMITS: Mapping[str, tuple[str, ...]] = {
    "minimum": ("{} or more",),
    "maximum": ("{} or less",),
    "exclusiveMinimum": ("more than {}",),
    "exclusiveMaximum": ("less than {}",),
    "multipleOf": ("a multiple of {}",),
    "minLength": ("must have at least", "character"),
    "maxLength": ("may have at most", "character"),
    "minItems": ("must have at least", "item"),
    "maxItems": ("may have at most", "item"),
    "minProperties": ("must have at least", "entry", "entries"),
    "maxProperties": ("may have at most", "entry", "entries"),
}

_MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Departure:
    """One thing wrong: where (keys and indexes from the top), and what.

    `at_key`: the key itself is.

    `is_lack`: something is not there, and what is there is sound.
    """

    path: tuple[str | int, ...]
    message: str
    at_key: bool = False
    is_lack: bool = False


class SchemaCheck:
    """A schema, compiled once, and the wording of its errors.

    `key` is what a top-level key is called.

    Raises jsonschema_rs.ValidationError for a schema that is none.
    """

    def __init__(self, schema: Schema, *, key: str = "key") -> None:
        self._schema = schema
        self._key = key
        self._validator = jsonschema_rs.validator_for(
            dict(schema), validate_formats=True, offline=True, pattern_options=PATTERN_OPTIONS
        )

    def is_valid(self, value: object) -> bool:
        """Tell whether the value fits. Raises ValueError for what JSON cannot carry."""
        return self._validator.is_valid(value)

    def find(self, value: object) -> list[Departure]:
        """Find all that is wrong, top to bottom. Raises ValueError for what JSON cannot carry."""
        return [
            departure
            for error in self._validator.iter_errors(value)
            for departure in self._word(error)
        ]

    def _word(self, error: jsonschema_rs.ValidationError) -> Iterator[Departure]:
        path = tuple(error.instance_path)
        kind = error.kind
        if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
            yield from self._unknown_keys(error, path, kind.unexpected)
        elif isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
            key = self._key if not path else "key"
            yield Departure(path, f"The {key} {kind.property!r} is missing.", is_lack=True)
        elif isinstance(kind, jsonschema_rs.ValidationErrorKind.PropertyNames):
            rule = self._description(error) or _say(kind.error)
            name = str(kind.error.instance)
            yield Departure((*path, name), f"{_show(name)} cannot be a name. {rule}", at_key=True)
        elif branches := _branches(kind):
            yield from self._word_branches(error, branches)
        else:
            rule = self._description(error) if kind.name in ("pattern", "not") else ""
            message = rule or _name_subject(_say(error), path)
            yield Departure(path, message, is_lack=kind.name == "minProperties")

    def _unknown_keys(
        self, error: jsonschema_rs.ValidationError, path: tuple[str | int, ...], names: list[str]
    ) -> Iterator[Departure]:
        schema = self._schema_at(error.schema_path[:-1])
        properties = schema.get("properties") if isinstance(schema, Mapping) else None
        known = properties if isinstance(properties, Mapping) else {}
        key = self._key if not path else "key"
        for name in names:
            message = f"Unknown {key} {_show(name)}.{nearest(name, known)}"
            yield Departure((*path, name), message, at_key=True)

    def _word_branches(
        self,
        error: jsonschema_rs.ValidationError,
        branches: list[list[jsonschema_rs.ValidationError]],
    ) -> Iterator[Departure]:
        """Word the errors of the one branch that the value was meant for, if that is clear."""
        path = list(error.instance_path)
        meant = [b for b in branches if not any(_is_wrong_type(e, path) for e in b)]
        if len(meant) == 1:
            for inner in meant[0]:
                yield from self._word(inner)
            return
        types = [t for b in branches for e in b if _is_wrong_type(e, path) for t in _types(e)]
        if not meant and types:
            message = _name_subject(_say_type(types, error.instance), tuple(path))
        else:
            message = self._description(error) or "This fits none of the forms that are allowed."
        yield Departure(tuple(path), message)

    def _description(self, error: jsonschema_rs.ValidationError) -> str:
        for end in (len(error.schema_path) - 1, len(error.schema_path)):
            schema = self._schema_at(error.schema_path[:end])
            if isinstance(schema, Mapping) and isinstance(schema.get("$comment"), str):
                return str(schema["$comment"])
        return ""

    def _schema_at(self, path: Sequence[str | int]) -> object:
        """Follow a path into the schema; None where it leads through a reference."""
        schema: object = self._schema
        for step in path:
            if isinstance(schema, Mapping) and step in schema:
                schema = schema[str(step)]
            elif isinstance(schema, list) and isinstance(step, int) and step < len(schema):
                schema = schema[step]
            else:
                return None
        return schema


def _branches(
    kind: jsonschema_rs.ValidationErrorKind,
) -> list[list[jsonschema_rs.ValidationError]]:
    kinds = jsonschema_rs.ValidationErrorKind
    return kind.context if isinstance(kind, kinds.AnyOf | kinds.OneOfNotValid) else []


def _is_wrong_type(error: jsonschema_rs.ValidationError, path: list[str | int]) -> bool:
    return bool(_types(error)) and error.instance_path == path


def _types(error: jsonschema_rs.ValidationError) -> list[str]:
    kind = error.kind
    return kind.types if isinstance(kind, jsonschema_rs.ValidationErrorKind.Type) else []


def _name_subject(message: str, path: tuple[str | int, ...]) -> str:
    """Say 'timeout_s' or `Item 2` in place of `This`."""
    if not path or not message.startswith("This "):
        return message
    subject = f"Item {path[-1]}" if isinstance(path[-1], int) else _show(path[-1])
    return subject + message.removeprefix("This")


def _say_type(types: Sequence[str], value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    what = _show(value) if is_number else _noun(value)
    return f"This must be {_list_types(types)}, not {what}."


def _say(error: jsonschema_rs.ValidationError) -> str:
    """Word an error that concerns one value alone."""
    kinds = jsonschema_rs.ValidationErrorKind
    value = error.instance
    match error.kind:
        case kinds.Type(types):
            return _say_type(types, value)
        case kinds.Enum(options):
            names = [option for option in options if isinstance(option, str)]
            hint = nearest(value, names) if isinstance(value, str) else ""
            known = ", ".join(_show(option) for option in options[:12])
            return f"{_show(value)} is not one of {known}.{hint if 'mean' in hint else ''}"
        case kinds.Constant(expected):
            return f"This must be {_show(expected)}."
        case kinds.Pattern(pattern):
            return f"{_show(value)} does not match the pattern {_show(pattern)}."
        case kinds.Format(name):
            return f"{_show(value)} is not a valid {name}."
    return _say_limit(error)


def _say_limit(error: jsonschema_rs.ValidationError) -> str:
    value, kind = error.instance, error.kind
    words = _LIMITS.get(kind.name)
    if words is None:
        # What is left is rare (`not`, `contains`, …); its own message may repeat the value.
        return f"This does not fit `{kind.name}`."
    bound, *noun = words
    limit = getattr(kind, "multiple_of" if kind.name == "multipleOf" else "limit")
    if not noun:
        return f"This must be {bound.format(limit)}, not {_show(value)}."
    size = len(value) if isinstance(value, str | list | dict) else 0
    return f"This {bound} {_count(limit, *noun)}, not {size}."


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _list_types(types: Sequence[str]) -> str:
    nouns = list(dict.fromkeys(_NOUNS.get(name, name) for name in types))
    return nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} or {nouns[-1]}"


def _noun(value: object) -> str:
    for kinds, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list | tuple, "array"),
        (dict, "object"),
    ):
        if isinstance(value, kinds):
            return "a boolean" if name == "boolean" else _NOUNS[name]
    return "null"


def _show(value: object) -> str:
    """Show a value as it was written, cut short."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
