"""A function that does nothing, for the benchmarks of orchestration; imports nothing, either."""

from __future__ import annotations


def noop(x: object = None) -> dict[str, object]:
    """Give the input back."""
    return {"x": x}
