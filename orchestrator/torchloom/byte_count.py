"""Amounts of memory as people write them: `12GiB`, `500 MB`. Knows no device and no budget."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final


#: What an amount looks like, as JSON Schema and Python both read it.
PATTERN: Final = r"^\d+(\.\d+)?\s*([KMGT]i?B|B)?$"

_UNITS: Final[Mapping[str, int]] = {
    "B": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)},
}

_AMOUNT: Final = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[KMGT]i?B|B)?")


def parse_byte_count(text: str | int) -> int:
    """Read `12GiB`, `500 MB` or a number of bytes. Raises ValueError."""
    match = _AMOUNT.fullmatch(str(text).strip())
    if match is None:
        message = f"{text!r} is no amount of memory. Write a number of bytes, or 12GiB or 500MB."
        raise ValueError(message)
    return int(float(match["number"]) * _UNITS[match["unit"] or "B"])
