"""Amounts of memory as people write them."""

from __future__ import annotations

import re

import pytest

from torchloom.byte_count import PATTERN, parse_byte_count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("12GiB", 12 << 30),
        ("0.5 MiB", 1 << 19),
        ("2GB", 2_000_000_000),
        ("77", 77),
        (77, 77),
        ("1B", 1),
    ],
)
def test_reads_amounts_of_memory(text: str | int, count: int) -> None:
    """Bytes, or a number with a unit of 1000 or 1024; the pattern for schemas takes the same."""
    assert parse_byte_count(text) == count
    assert re.search(PATTERN, str(text))


@pytest.mark.parametrize("text", ["", "12 apples", "-1", "1e9", "GiB", "0x10"])
def test_refuses_what_is_no_amount(text: str) -> None:
    """The message shows what to write."""
    with pytest.raises(ValueError, match="Write a number of bytes, or 12GiB"):
        parse_byte_count(text)
    assert not re.search(PATTERN, text)
