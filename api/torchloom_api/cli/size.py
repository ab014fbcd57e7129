"""Sizes in words: bytes as a person reads them."""

from __future__ import annotations


_UNITS = ("B", "KiB", "MiB", "GiB")
_STEP = 1024


def to_size(count: float) -> str:
    """Write a number of bytes in the largest unit that leaves at least 1: `1.5 MiB`."""
    for unit in _UNITS[:-1]:
        if count < _STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _STEP
    return f"{count:.1f} {_UNITS[-1]}"
