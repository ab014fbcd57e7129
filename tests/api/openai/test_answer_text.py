"""The one text that several nodes write."""

from __future__ import annotations

import pytest

from torchloom.errors import TaskFailed
from torchloom_api.openai.answer_text import AnswerText


def test_tells_a_node_as_it_writes() -> None:
    """Each piece is told at once, and the end adds what no piece held."""
    text = AnswerText(["a"])
    told = [text.add("a", "One "), text.add("a", "two"), text.finish("a", {"text": "One two."})]

    assert told == ["One ", "two", "."]


def test_tells_all_at_the_end_of_a_node_that_writes_no_pieces() -> None:
    """What gives its text whole is one piece."""
    assert AnswerText(["a"]).finish("a", {"text": "All."}) == "All."


def test_holds_back_what_comes_later() -> None:
    """Two that write at once are told one after the other, in their order."""
    text = AnswerText(["a", "b", "c"])
    told = [
        text.add("b", "B1 "),
        text.add("a", "A1 "),
        text.finish("b", {"text": "B1 B2 "}),
        text.add("c", "C1"),
        text.finish("a", {"text": "A1 A2 "}),
        text.finish("c", {"text": "C1"}),
    ]

    assert told == ["", "A1 ", "", "", "A2 B1 B2 C1", ""]


def test_leaves_out_what_is_skipped() -> None:
    """Of branches the one that is taken answers."""
    text = AnswerText(["a", "b", "c"])
    told = [text.skip("a"), text.add("b", "B"), text.skip("c"), text.finish("b", {"text": "B"})]

    assert told == ["", "B", "", ""]


def test_is_cut_short_if_a_part_is() -> None:
    """The reason is `length` if it was that of any node, else `stop`."""
    text = AnswerText(["a", "b"])
    text.finish("a", {"text": "A", "finish_reason": "length"})
    assert text.finish_reason == "length"
    text.finish("b", {"text": "B", "finish_reason": "stop"})
    assert text.finish_reason == "length"
    assert AnswerText(["a"]).finish_reason == "stop"


def test_starts_over_what_nobody_has_seen() -> None:
    """What was held back gives way to what stands in for it."""
    text = AnswerText(["a", "b"])
    text.add("b", "broken")
    text.start_over("b")
    told = [text.finish("a", {"text": "A "}), text.finish("b", {"text": "mended"})]

    assert told == ["A ", "mended"]


def test_takes_nothing_back() -> None:
    """A part that has been told cannot be replaced, also when others are told since."""
    text = AnswerText(["a", "b"])
    text.add("a", "broken")
    with pytest.raises(TaskFailed, match="Node 'a' failed after a part of its answer"):
        text.start_over("a")


def test_wants_text() -> None:
    """A node that gives something else is named."""
    with pytest.raises(TaskFailed, match="Node 'a' gave no text"):
        AnswerText(["a"]).finish("a", {"text": 3})
