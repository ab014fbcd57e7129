"""Buckets: the few sizes that inputs are padded to, so that few shapes compile. Knows no tensor."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def bucket_of(size: int, buckets: Sequence[int]) -> int:
    """Give the smallest bucket that holds `size`, and the largest where none does.

    `buckets` ascend and are not empty.
    """
    return buckets[min(bisect_left(buckets, size), len(buckets) - 1)]


def powers_of_two(least: int, most: int) -> tuple[int, ...]:
    """Give `least`, then its doubles, and `most` at the end: (1, 6) gives 1, 2, 4, 6."""
    sizes = []
    size = least
    while size < most:
        sizes.append(size)
        size *= 2
    return (*sizes, most)


def rounded_up(size: int, multiple: int, most: int) -> int:
    """Give the next multiple that holds `size`, but never more than `most`."""
    return min(-(-size // multiple) * multiple, most)
