"""How a filter looks in SQL: text that holds nothing that a caller wrote, and bound parameters.

Works on a jsonb column `fields`, whose values are scalars and lists of scalars.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import LiteralString

from psycopg import sql

from torchloom_models.index.condition import Condition


_COMPARISONS: dict[str, LiteralString] = {
    "eq": "@ == $v[*]",
    "ne": "@ == $v[*]",
    "in": "@ == $v[*]",
    "not_in": "@ == $v[*]",
    "lt": "@ < $v[0]",
    "lte": "@ <= $v[0]",
    "gt": "@ > $v[0]",
    "gte": "@ >= $v[0]",
}


def to_where(conditions: Sequence[Condition]) -> tuple[sql.Composable, list[object]]:
    """Give the text after WHERE, which holds nothing that a caller wrote, and its parameters."""
    tests: list[sql.Composable] = [sql.SQL("true")]
    values: list[object] = []
    for condition in conditions:
        test, parameters = _to_test(condition)
        tests.append(test)
        values += parameters
    return sql.SQL(" AND ").join(tests), values


def _to_test(condition: Condition) -> tuple[sql.Composable, list[object]]:
    if condition.operator == "exists":
        negation = sql.SQL("" if condition.values[0] else "NOT ")
        return sql.SQL("{}(fields ? %s)").format(negation), [condition.field]
    negation = sql.SQL("NOT " if condition.operator in {"ne", "not_in"} else "")
    path = sql.Literal(f"$[*] ? ({_COMPARISONS[condition.operator]})")
    test = sql.SQL(
        "{}coalesce(jsonb_path_exists(fields -> %s, {}, jsonb_build_object('v', %s::jsonb)), false)"
    ).format(negation, path)
    return test, [condition.field, json.dumps(condition.values)]
