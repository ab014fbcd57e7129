"""Sizes in words."""

from __future__ import annotations

import pytest

from torchloom_api.cli.size import to_size


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (87 * 1024**2, "87.0 MiB"),
        (3 * 1024**4, "3072.0 GiB"),
    ],
)
def test_takes_the_largest_unit_that_leaves_one(count: int, words: str) -> None:
    """Sizes read well from bytes to terabytes."""
    assert to_size(count) == words
