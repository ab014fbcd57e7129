"""How passages and filters look in Qdrant: payloads with typed fields, and conditions on them.

Names and values are spelled so that none can be taken for a path, a type or an operator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import qdrant_edge as qdrant

from torchloom_models.index.condition import Condition
from torchloom_models.index.passage import Passage, Scalar, filterable


_Test = (
    qdrant.FieldCondition
    | qdrant.IsEmptyCondition
    | qdrant.IsNullCondition
    | qdrant.HasIdCondition
    | qdrant.HasVectorCondition
    | qdrant.NestedCondition
    | qdrant.Filter
)


def to_filter(conditions: Sequence[Condition]) -> qdrant.Filter | None:
    """Give the filter that all conditions together make; None where there are none."""
    if not conditions:
        return None
    must: list[_Test] = [_to_test(part) for part in conditions if not _is_negative(part)]
    must_not: list[_Test] = [_to_test(part) for part in conditions if _is_negative(part)]
    return qdrant.Filter(must=must, must_not=must_not)


def _is_negative(condition: Condition) -> bool:
    if condition.operator == "exists":
        return condition.values == (True,)  # it is tested as "is not empty"
    return condition.operator in {"ne", "not_in"}


def _to_test(condition: Condition) -> _Test:
    if condition.operator == "exists":
        return qdrant.Filter(must=[_is_empty(condition.field, ""), _is_empty(condition.field, 0)])
    if condition.operator in {"lt", "lte", "gt", "gte"}:
        key = _path(condition.field, 0)
        bound = {condition.operator: float(condition.values[0])}
        return qdrant.FieldCondition(key, range=qdrant.RangeFloat(**bound))
    return qdrant.Filter(should=[_equals(condition.field, value) for value in condition.values])


def _is_empty(name: str, like: Scalar) -> qdrant.IsEmptyCondition:
    return qdrant.IsEmptyCondition(_path(name, like))


def _equals(name: str, value: Scalar) -> qdrant.FieldCondition:
    spelled, path = _spell(value), _path(name, value)
    if isinstance(spelled, str):
        return qdrant.FieldCondition(path, match=qdrant.MatchValue(spelled))
    return qdrant.FieldCondition(path, range=qdrant.RangeFloat(gte=spelled, lte=spelled))


def _path(name: str, like: Scalar) -> str:
    return f"fields.{_key(name, like)}"


def to_payload(passage: Passage) -> dict[str, object]:
    """Give what is stored beside a passage's vector; `metadata` is text, to come back unchanged."""
    return {
        "id": passage.id,
        "text": passage.text,
        "metadata": json.dumps(dict(passage.metadata), ensure_ascii=False),
        "fields": to_fields(passage),
    }


def to_fields(passage: Passage) -> dict[str, list[str | float]]:
    """Give what filters see: for each field its numbers and its words, under keys of their own."""
    fields: dict[str, list[str | float]] = {}
    for name, value in filterable(passage.metadata).items():
        for item in value if isinstance(value, list) else [value]:
            fields.setdefault(_key(name, item), []).append(_spell(item))
    return fields


def _key(name: str, value: Scalar) -> str:
    """Spell a field's name so that it is a plain key, whatever it holds, in the library's paths."""
    return ("word" if isinstance(value, bool | str) else "number") + name.encode().hex()


def _spell(value: Scalar) -> str | float:
    """Spell true and false as words that nobody else can write: the library takes them for 1, 0."""
    if isinstance(value, bool):
        return f"\x00{value}"
    return value if isinstance(value, str) else float(value)
