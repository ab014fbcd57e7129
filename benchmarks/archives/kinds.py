"""A handler behind an envelope: gives back what it sees, or a value of the kind that is asked."""

from __future__ import annotations

from typing import Any


_KINDS: dict[str, Any] = {
    "float": 0.25,
    "floats": [0.5, 1.5],
    "int": 5,
    "nested": [[1, 2], [3, 4]],
    "bool": True,
    "text": "ab",
    "texts": ["a", "b"],
    "mixed": ["a", 1],
    "object": {"a": 1},
    "none": None,
}


def handle(data: Any, context: Any) -> Any:
    """Answer each entry."""
    if data is None:
        return None
    return [_answer(entry, context) for entry in data]


def _answer(entry: Any, context: Any) -> Any:
    asked = entry.get("name") if isinstance(entry, dict) else entry
    if asked in _KINDS:
        return _KINDS[asked]
    return {"seen": repr(entry), "explain": context.get_request_header(0, "explain")}
