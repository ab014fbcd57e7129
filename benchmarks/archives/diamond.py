"""The functions of a workflow of four nodes: a start, two models beside each other, a join.

The models are the no-op's; every node answers text or bytes.
"""

from __future__ import annotations


def start(data: list[dict[str, object]] | None, _: object) -> list[str] | None:
    """Hand something on; None is the call at the load."""
    return None if data is None else ["begun"] * len(data)


def join(data: list[dict[str, bytearray]] | None, _: object) -> list[str] | None:
    """Say which nodes came, and what they said."""
    if data is None:
        return None
    return [",".join(f"{name}={bytes(row[name]).decode()}" for name in sorted(row)) for row in data]
