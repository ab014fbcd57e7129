"""ItemCutter: a stream of text as items."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchloom import items as items_module
from torchloom.errors import TaskFailed
from torchloom.graph import Items
from torchloom.items import ItemCutter, cut


LINES = Items("lines")
JSON = Items("json")


def test_gives_a_line_when_it_is_complete() -> None:
    """A line ends with its newline, the last one with the text; blank ones are no items."""
    cutter = ItemCutter(LINES)
    assert cutter.feed("a red cir") == []
    assert cutter.feed("cle\n\n  a blue ") == ["a red circle"]
    assert cutter.feed("square \nlast") == ["a blue square"]
    assert cutter.finish() == ["last"]
    assert cutter.finish() == []


def test_gives_the_elements_of_the_first_list() -> None:
    """Elements come as they are complete; talk around the list is passed over."""
    cutter = ItemCutter(JSON)
    assert cutter.feed("Here you are: ") == []
    assert cutter.feed('["a", {"b": [1, 2') == ["a"]
    assert cutter.feed("]}, 1") == [{"b": [1, 2]}]
    assert cutter.feed("2, nul") == [12]
    assert cutter.feed("l] and [more]") == [None]
    assert cutter.finish() == []


def test_gives_what_is_complete_of_a_list_that_breaks_off() -> None:
    """At the end of the text a number is over; half a string is no item."""
    assert cut(JSON, "[1, 2") == [1, 2]
    assert cut(JSON, '[1, "ha') == [1]
    assert cut(JSON, "no list") == []
    assert cut(JSON, "[]") == []


def test_gives_each_match_of_a_pattern() -> None:
    """A group, where the pattern has one, else all of the match, at the end of the text."""
    assert cut(Items("regex", r"\d+"), "a1b22") == ["1", "22"]
    assert cut(Items("regex", r"<(\w+)>"), "<a> <b>") == ["a", "b"]
    assert ItemCutter(Items("regex", r"\d+")).feed("1 2 3") == []


def test_bounds_the_time_of_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that backtracks without end fails its task alone."""
    monkeypatch.setattr(items_module, "_PATTERN_TIMEOUT_S", 0.001)
    with pytest.raises(TaskFailed, match="takes too long"):
        cut(Items("regex", r"(a|a|b|aa)+$"), "a" * 5000 + "c")


def _feed_split(items: Items, text: str, places: list[int]) -> list[object]:
    cutter = ItemCutter(items)
    found: list[object] = []
    cuts = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    for start, end in itertools.pairwise(cuts):
        found += cutter.feed(text[start:end])
    return found + cutter.finish()


@given(st.text(alphabet="ab \n\r", max_size=40), st.lists(st.integers(0, 100), max_size=8))
def test_cuts_lines_the_same_however_the_text_comes(text: str, places: list[int]) -> None:
    """Where the stream is split makes no difference."""
    assert _feed_split(LINES, text, places) == cut(LINES, text)


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
        max_size=6,
    ),
    st.lists(st.integers(0, 500), max_size=10),
)
@settings(max_examples=50)
def test_cuts_json_the_same_however_the_text_comes(values: list[object], places: list[int]) -> None:
    """Every element comes out as it went in, wherever the stream is split."""
    assert _feed_split(JSON, "Sure: " + json.dumps(values) + " Done.", places) == values
