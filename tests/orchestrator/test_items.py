"""ItemCutter: a stream of text as items."""

from __future__ import annotations

import itertools
import json

import pytest
import regex
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


def test_gives_an_element_the_moment_it_is_complete() -> None:
    """A string, list or object ends with its own last letter; only a number may go on."""
    cutter = ItemCutter(JSON)
    assert cutter.feed('["a"') == ["a"]
    assert cutter.feed(', {"b": 1}') == [{"b": 1}]
    assert cutter.feed(", [2]") == [[2]]
    assert cutter.feed(", true") == [True]
    assert cutter.feed(", 1.5") == []
    assert cutter.feed("]") == [1.5]


@pytest.mark.parametrize("element", ["[" * 100_000, "1" * 5_000], ids=["depth", "digits"])
def test_fails_on_a_list_that_takes_too_much(element: str) -> None:
    """What no reader of JSON can take is the fault of the text, while it comes and at its end."""
    with pytest.raises(TaskFailed, match="nested too deep"):
        cut(JSON, f"[{element}")
    with pytest.raises(TaskFailed, match="nested too deep"):
        ItemCutter(JSON).feed(f"[{element}, ")


def test_gives_each_match_of_a_pattern() -> None:
    """A group, where the pattern has one, else all of the match."""
    assert cut(Items("regex", r"\d+"), "a1b22") == ["1", "22"]
    assert cut(Items("regex", r"<(\w+)>"), "<a> <b>") == ["a", "b"]


def test_gives_a_match_once_text_stands_behind_it() -> None:
    """A match that reaches the end of what is written may go on; so may one in a look-ahead."""
    cutter = ItemCutter(Items("regex", r"\d+"))
    assert cutter.feed("1 2") == ["1"]
    assert cutter.feed("3") == []
    assert cutter.feed(" 4") == ["23"]
    assert cutter.finish() == ["4"]
    ahead = ItemCutter(Items("regex", r"#(?=(\w+))"))
    assert ahead.feed("#ab") == []
    assert ahead.feed("c ") == ["abc"]


def test_searches_no_text_again_in_which_no_match_can_begin() -> None:
    """What comes is searched from where a match may have begun: the work grows with the text."""
    cutter = ItemCutter(Items("regex", r"<(\w+)>"))
    assert cutter.feed("one two <thr") == []
    assert cutter._position == 8
    assert cutter.feed("ee> four") == ["three"]
    assert cutter._position == 20


def test_gives_an_empty_match_once() -> None:
    """Wherever the text is split, also before a longer match at the same place."""
    cutter = ItemCutter(Items("regex", "|a"))
    assert cutter.feed("a") == [""]
    assert cutter.feed("b") == ["a", ""]
    assert cutter.finish() == [""]
    assert cut(Items("regex", "|a"), "ab") == ["", "a", "", ""]


def test_does_not_take_back_what_later_text_changes() -> None:
    """A pattern that looks further ahead finds what it would find in the text so far."""
    cutter = ItemCutter(Items("regex", r"a.*z|a"))
    assert cutter.feed("ab") == ["a"]
    assert cutter.feed("z") == []
    assert cutter.finish() == []


def test_leaves_a_pattern_that_searches_backwards_to_the_end() -> None:
    """Its first match is the last of the text."""
    cutter = ItemCutter(Items("regex", r"(?r)\d"))
    assert cutter.feed("1 2 ") == []
    assert cutter.finish() == ["2", "1"]


def test_searches_no_more_while_text_comes_once_that_took_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is left is found at the end, in the time that a whole text is given."""
    monkeypatch.setattr(items_module, "_LIVE_TIMEOUT_S", 0.001)
    cutter = ItemCutter(Items("regex", r"(?:a|a|b|aa)+$|x(\d)"))
    assert cutter.feed("x1 " + "a" * 3000 + "c") == ["1"]
    assert cutter.feed("x2 ") == []
    monkeypatch.setattr(items_module, "_PATTERN_TIMEOUT_S", 0.001)
    with pytest.raises(TaskFailed, match="takes too long"):
        cutter.finish()


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


_PATTERNS = [
    r"\d+",
    r"<(\w*)>",
    r"(?m)^- (.*)$",
    r"\d*",
    "",
    "|a",
    "a|",
    "a*?",
    r"(?=(\w\w))",
    r"(?<=a)b+",
    "(a)|b",
    "[^,]+",
    r"(?r)\w+",
    r"(\w)\1",
]


@given(
    st.sampled_from(_PATTERNS),
    st.text(alphabet="ab1<>-, \n", max_size=16),
    st.lists(st.integers(0, 100), max_size=8),
)
def test_cuts_matches_the_same_however_the_text_comes(
    pattern: str, text: str, places: list[int]
) -> None:
    """For patterns that look no further than the next letter, as a search of the whole text."""
    items = Items("regex", pattern)
    group = min(regex.compile(pattern).groups, 1)
    whole = [match[group] for match in regex.finditer(pattern, text)]
    assert cut(items, text) == whole
    assert _feed_split(items, text, places) == whole
