"""Schema path: what is known of a value from its JSON Schema: its types, and what lies at a path.

Only what is certain counts: where a schema leaves something open, nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torchloom.errors import nearest
from torchloom.signature import Schema


_SCALARS = frozenset({"string", "integer", "number", "boolean", "null"})


class NoSuchPath(LookupError):
    """There is certainly nothing at the path; the message says why."""


def types_of(schema: Schema) -> frozenset[str] | None:
    """Give the JSON types that a value may have, or None where that is open."""
    types = schema.get("type")
    if isinstance(types, str):
        return frozenset({types})
    if isinstance(types, list):
        return frozenset(str(name) for name in types)
    for word in ("anyOf", "oneOf"):
        branches = schema.get(word)
        if isinstance(branches, list) and branches:
            found = [types_of(branch) for branch in branches if isinstance(branch, Mapping)]
            known = [names for names in found if names is not None]
            return frozenset[str]().union(*known) if len(known) == len(branches) else None
    return None


def can_fit(given: frozenset[str] | None, wanted: frozenset[str] | None) -> bool:
    """Tell whether a value of one of these types may fit. A number may be a whole one."""
    if given is None or wanted is None or given & wanted:
        return True
    numbers = {"integer", "number"}
    return bool(given & numbers and wanted & numbers)


def schema_at(schema: Schema, keys: Sequence[str | int], label: str) -> Schema:
    """Give the schema of what lies at a path, {} where that is open. Raises NoSuchPath."""
    for key in keys:
        types = types_of(schema)
        if types is None:
            return {}
        if types == frozenset({"string"}) and isinstance(key, int):
            # A character.
            continue
        if types <= _SCALARS:
            raise NoSuchPath(f"{label} is a {' or '.join(sorted(types))}: it has no {key!r} in it.")
        if types == frozenset({"array"}) and isinstance(key, str):
            raise NoSuchPath(
                f"{label} is a list: it has no {key!r} in it, only its items may have."
            )
        schema = _step(schema, key, label)
        label = f"{label}.{key}" if isinstance(key, str) else f"{label}[{key}]"
    return schema


def _step(schema: Schema, key: str | int, label: str) -> Schema:
    below: object = None
    if isinstance(key, int):
        below = schema.get("items") if "prefixItems" not in schema else None
    else:
        properties = schema.get("properties")
        known = properties if isinstance(properties, Mapping) else {}
        below = known.get(key)
        if below is None and types_of(schema) == frozenset({"object"}) and _is_closed(schema):
            raise NoSuchPath(f"{label} has no {key!r} in it.{nearest(key, known)}")
    return below if isinstance(below, Mapping) else {}


def _is_closed(schema: Schema) -> bool:
    return schema.get("additionalProperties") is False and "patternProperties" not in schema
