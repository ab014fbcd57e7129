"""The function of a workflow whose model may take so long, and so often."""

from __future__ import annotations

from typing import Any


def begin(data: list[dict[str, Any]] | None, context: Any) -> list[bytes] | None:  # noqa: ARG001
    """Hand on what came."""
    if data is None:
        return None
    return [bytes(row.get("body") or row.get("data") or b"") for row in data]
