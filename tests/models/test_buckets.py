"""The few sizes that inputs are padded to."""

from __future__ import annotations

import pytest

from torchloom_models.buckets import bucket_of, powers_of_two, rounded_up


@pytest.mark.parametrize(("size", "bucket"), [(1, 4), (4, 4), (5, 8), (16, 16), (17, 16)])
def test_gives_the_smallest_bucket_that_holds_a_size(size: int, bucket: int) -> None:
    """A size that no bucket holds gets the largest: the caller has bounded it before."""
    assert bucket_of(size, (4, 8, 16)) == bucket


@pytest.mark.parametrize(
    ("least", "most", "sizes"),
    [(1, 6, (1, 2, 4, 6)), (1, 8, (1, 2, 4, 8)), (16, 16, (16,)), (1, 1, (1,))],
)
def test_doubles_up_to_the_most(least: int, most: int, sizes: tuple[int, ...]) -> None:
    """The largest is always there, a power of two or not."""
    assert powers_of_two(least, most) == sizes


@pytest.mark.parametrize(("size", "rounded"), [(1, 8), (8, 8), (9, 16), (19, 20), (20, 20)])
def test_rounds_up_but_not_over_the_most(size: int, rounded: int) -> None:
    """A multiple that is out of bounds becomes the bound."""
    assert rounded_up(size, 8, 20) == rounded
