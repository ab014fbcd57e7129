"""Conditions on metadata, read from the mapping that a caller gives as `filter`.

Knows no store: each store translates conditions with its own typed or bound parameters, so that
nothing a caller writes becomes part of a query's text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from torchloom.errors import InvalidInput, nearest
from torchloom_models.index.passage import Scalar


Operator = Literal["eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "exists"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)

MAX_CONDITIONS = 64
MAX_VALUES = 1000
_MAX_TEXT = 10_000
_MAX_INTEGER = 2**53
_EXAMPLE = '{"section": "Leave", "year": {"gte": 2024}, "tag": {"in": ["hr", "pay"]}}'


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one metadata field; all of a filter's conditions must hold.

    A field that holds a list passes `eq`, `in` and the comparisons when one of its items does. `ne`
    and `not_in` are their exact opposites, so they also pass where the field is absent. Comparisons
    are between numbers. `values` holds one value, or those of `in` and `not_in`.
    """

    field: str
    operator: Operator
    values: tuple[Scalar, ...]


def parse_filter(given: object) -> tuple[Condition, ...]:
    """Read a filter: field → value, or field → {operator: value}. None and {} let everything pass.

    Raises InvalidInput, naming the field and the nearest operator.
    """
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        message = f"filter: a mapping such as {_EXAMPLE}, not a {type(given).__name__}."
        raise InvalidInput(message)
    conditions = [part for name, test in given.items() for part in _parse_field(name, test)]
    if len(conditions) > MAX_CONDITIONS:
        raise InvalidInput(f"filter: {len(conditions)} conditions; at most {MAX_CONDITIONS}.")
    return tuple(conditions)


def _parse_field(name: object, test: object) -> list[Condition]:
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"filter: {name!r} is no field name; write a non-empty string.")
    name = cast("str", _checked(name, "filter: a field name"))
    if not isinstance(test, Mapping):
        return [_parse_test(name, "eq", test)]
    if not test:
        raise InvalidInput(f"filter, field {name!r}: no operator; one of {', '.join(OPERATORS)}.")
    return [_parse_test(name, operator, value) for operator, value in test.items()]


def _parse_test(name: str, operator: object, value: object) -> Condition:
    where = f"filter, field {name!r}"
    if operator not in OPERATORS:
        hint = nearest(str(operator), OPERATORS)
        raise InvalidInput(f"{where}: unknown operator {operator!r}.{hint}")
    known: Operator = operator
    where = f"{where}, {known}"
    if known in {"in", "not_in"}:
        if not isinstance(value, list) or not 0 < len(value) <= MAX_VALUES:
            raise InvalidInput(f"{where}: a list of 1 to {MAX_VALUES} values.")
        return Condition(name, known, tuple(_checked(item, where) for item in value))
    if known == "exists" and not isinstance(value, bool):
        raise InvalidInput(f"{where}: true or false.")
    if known in {"lt", "lte", "gt", "gte"} and not _is_number(value):
        raise InvalidInput(f"{where}: a number; only numbers are compared.")
    return Condition(name, known, (_checked(value, where),))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _checked(value: object, where: str) -> Scalar:
    """Refuse what the stores would not all compare alike."""
    match value:
        case None:
            raise InvalidInput(
                f'{where}: null is no value; to find absent fields: {{"exists": false}}.'
            )
        case str() if len(value) > _MAX_TEXT or "\x00" in value or not _is_encodable(value):
            message = f"{where}: a string of at most {_MAX_TEXT} whole characters, without NUL."
            raise InvalidInput(message)
        case float() if not math.isfinite(value):
            raise InvalidInput(f"{where}: {value} is no number to compare with.")
        case int() if abs(value) > _MAX_INTEGER:
            raise InvalidInput(f"{where}: an integer from -2^53 to 2^53.")
        case str() | int() | float():
            return value
        case list():
            raise InvalidInput(f'{where}: for one of several values write {{"in": […]}}.')
        case _:
            raise InvalidInput(
                f"{where}: a string, a number, true or false; not {type(value).__name__}."
            )


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
