"""Texts of several tasks, packed into passes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from torchloom_models.text_batch import Packing, Pass


LENGTHS = (8, 16, 32, 64)

PACKING = Packing(lengths=LENGTHS, max_tokens=128, max_rows=4, pass_tokens=16)


def test_puts_texts_of_like_length_together_longest_first() -> None:
    """A text that is much shorter waits for a pass of its own."""
    assert list(PACKING.pack([5, 60, 7, 62])) == [
        Pass(places=(3, 1), length=64),
        Pass(places=(2, 0), length=8),
    ]


def test_takes_a_little_padding_to_spare_a_pass() -> None:
    """Padding that costs less than a pass is put up with."""
    assert list(PACKING.pack([9, 7])) == [Pass(places=(0, 1), length=16)]


def test_gives_no_pass_for_no_text() -> None:
    """An empty list of texts is no work."""
    assert list(PACKING.pack([])) == []


@given(st.lists(st.integers(1, 64), max_size=60))
def test_holds_each_text_once_within_bounds(sizes: list[int]) -> None:
    """Whatever comes, every text is in one pass that it fits in, and no pass is too large."""
    passes = list(PACKING.pack(sizes))

    places = [place for each in passes for place in each.places]
    assert sorted(places) == list(range(len(sizes)))
    for each in passes:
        assert each.length in LENGTHS
        assert all(sizes[place] <= each.length for place in each.places)
        assert len(each.places) <= PACKING.max_rows
        assert len(each.places) * each.length <= PACKING.max_tokens


def test_gives_a_text_over_the_bound_a_pass_of_its_own() -> None:
    """A text that is longer than a pass may be is not lost."""
    packing = Packing(lengths=(256,), max_tokens=100, max_rows=4)

    assert list(packing.pack([200, 200])) == [
        Pass(places=(0,), length=256),
        Pass(places=(1,), length=256),
    ]
