"""A run as it is printed while it goes on."""

from __future__ import annotations

from base64 import b64encode
from io import StringIO

import pytest
from rich.console import Console

from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.failure import Failure
from torchloom_api.cli.run_event import RunEvent
from torchloom_api.cli.transcript import Transcript


class Pages:
    """A transcript that writes to memory."""

    def __init__(self) -> None:
        self._out, self._notes = StringIO(), StringIO()
        self.transcript = Transcript(
            Console(file=self._out, width=60), Console(file=self._notes, width=60)
        )

    def feed(self, *events: tuple[str, dict[str, object]]) -> None:
        """Show each event."""
        for kind, data in events:
            self.transcript.show(RunEvent(kind, data))

    @property
    def out(self) -> str:
        """What went to standard output."""
        return self._out.getvalue()

    @property
    def notes(self) -> str:
        """What went to standard error."""
        return self._notes.getvalue()


def _chunk(text: str, **more: object) -> tuple[str, dict[str, object]]:
    return ("node.chunk", {"node": "answer", "text": text, **more})


def test_prints_text_as_it_comes() -> None:
    """Before the run has finished, what was streamed is on the screen."""
    pages = Pages()
    pages.feed(_chunk("14 cr"), _chunk("owns."))
    assert pages.out == "14 crowns."


def test_prints_markup_and_long_lines_as_they_are() -> None:
    """A model's text is no markup, and is not wrapped anew."""
    pages = Pages()
    text = "[bold] " + "word " * 40
    pages.feed(_chunk(text))
    assert pages.out == text


def test_prints_other_values_as_lines_of_json() -> None:
    """What a function yields is shown as it comes, too."""
    pages = Pages()
    pages.feed(*(("node.chunk", {"node": "count", "data": {"n": n}}) for n in (1, 2)))
    pages.feed(("node.chunk", {"node": "count"}))
    assert pages.out == '{"n": 1}\n{"n": 2}\n'


def test_does_not_repeat_what_was_streamed() -> None:
    """An output that is the streamed text is left out at the end; others are printed."""
    pages = Pages()
    pages.feed(
        _chunk("14 crowns."),
        ("run.finished", {"outputs": {"answer": "14 crowns.", "language": "en"}}),
    )
    assert pages.out == "14 crowns.\nlanguage: en\n"
    assert pages.transcript.outputs == {"answer": "14 crowns.", "language": "en"}


def test_prints_documents_one_a_line() -> None:
    """Sources are numbered as the prompt numbers them, with score and id, shortened."""
    pages = Pages()
    source = {"id": "harbour-3", "text": "A mooring\ncosts " + "x" * 200, "score": 0.8123}
    pages.feed(("run.finished", {"outputs": {"sources": [source]}}))
    (_, line, *rest) = pages.out.split("\n")
    assert line.startswith("  [1] 0.81 harbour-3: A mooring costs xxx")
    assert (len(line), line[-1], rest) == (60, "…", [""])


def test_labels_text_of_several_places() -> None:
    """Once items or a second node stream, each piece of text says whose it is."""
    pages = Pages()
    pages.feed(_chunk("a", index=0), _chunk("b", index=1), _chunk("c", index=1))
    assert pages.out == "answer[0]: a\nanswer[1]: bc"


def test_gives_the_time_of_each_node() -> None:
    """Timings go to the notes, so that the answer can be piped on."""
    pages = Pages()
    timings = {"total_s": 0.5, "nodes": {"query": {"run_s": 0.1}, "answer": {"run_s": None}}}
    pages.feed(("run.finished", {"outputs": {}, "timings": timings}))
    assert pages.notes == "0.50 s · query 0.10 · answer 0.00\n"
    assert pages.out == ""


def test_tells_of_a_retry() -> None:
    """A retry is worth a word: what failed, and which attempt follows."""
    pages = Pages()
    pages.feed(
        ("node.retried", {"node": "answer", "attempt": 2, "error": {"detail": "worker died"}})
    )
    assert pages.notes == "answer: attempt 2 after: worker died\n"


def test_ends_a_failed_run_with_its_error() -> None:
    """A failed run is an error, with the server's words."""
    pages = Pages()
    error = {"title": "The model failed", "status": 500, "detail": "Node 'answer': no."}
    with pytest.raises(Failure) as caught:
        pages.feed(_chunk("half"), ("run.failed", {"error": error}))
    assert caught.value.message == "Node 'answer': no."
    assert caught.value.exit_code == ExitCode.FAILED
    assert pages.out == "half\n"


PICTURE = b64encode(
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (64).to_bytes(4) * 2 + bytes(976)
).decode()


def _item(index: int, **outputs: object) -> tuple[str, dict[str, object]]:
    return ("node.item", {"node": "pictures", "index": index, "outputs": outputs})


def test_tells_of_each_item_that_is_done() -> None:
    """A picture in words, on a line of its own, at once where no line of text is under way."""
    pages = Pages()
    pages.feed(_chunk("a red circle\n"), _item(0, image=PICTURE, seed=7))
    assert pages.notes == "pictures[0]: image PNG 64x64, 1.0 kB · seed 7\n"
    pages.feed(_chunk("a blue square\n"), ("run.finished", {"outputs": {}}))
    assert pages.out == "a red circle\na blue square\n"


def test_does_not_break_a_line_for_an_item() -> None:
    """What is done meanwhile is told when the line is complete, or the text ends."""
    pages = Pages()
    pages.feed(_chunk("a red circle\na"), _item(0, seed=7))
    assert pages.notes == ""
    pages.feed(_chunk(" blue square\na gre"))
    assert pages.notes == "pictures[0]: seed 7\n"
    pages.feed(_item(1, seed=8), _chunk("y star"), ("run.finished", {"outputs": {}}))
    assert pages.notes == "pictures[0]: seed 7\npictures[1]: seed 8\n"
    assert pages.out == "a red circle\na blue square\na grey star\n"


def test_does_not_tell_twice_of_an_item() -> None:
    """Neither of one that was cut from streamed text, nor of one whose text was streamed."""
    pages = Pages()
    pages.feed(
        ("node.item", {"node": "answer", "index": 0, "item": "a red circle"}),
        _chunk("hello", index=0),
        ("node.item", {"node": "answer", "index": 0, "outputs": {"text": "hello"}}),
    )
    assert (pages.out, pages.notes) == ("answer[0]: hello", "")


def test_shortens_what_an_item_gave() -> None:
    """All of it is among the outputs, at the end."""
    pages = Pages()
    pages.feed(_item(3, vector=[0.5] * 40))
    assert pages.notes.startswith("pictures[3]: vector [0.5, 0.5,")
    assert pages.notes.strip().endswith("…")


def test_prints_no_bytes_of_pictures() -> None:
    """Not among the outputs, and not among chunks of data."""
    pages = Pages()
    pages.feed(
        ("node.chunk", {"node": "a", "data": {"image": PICTURE}}),
        ("node.chunk", {"node": "a", "data": PICTURE}),
        ("node.chunk", {"node": "a", "index": 1, "image": PICTURE}),
        ("run.finished", {"outputs": {"images": [PICTURE], "one": PICTURE}}),
    )
    assert "iVBOR" not in pages.out + pages.notes
    assert "one: PNG 64x64, 1.0 kB" in pages.out
    assert pages.notes == "a[1]: a picture\n"


def test_says_that_a_node_starts_over() -> None:
    """What was printed of it before is not taken for its answer."""
    pages = Pages()
    error = {"title": "The worker process ended", "detail": "gone"}
    pages.feed(
        _chunk("half"),
        ("node.restarted", {"node": "answer", "error": error}),
        ("node.restarted", {"node": "pictures"}),
        ("run.finished", {"outputs": {"answer": "half"}}),
    )
    assert pages.notes == "answer: starts over after: gone\npictures: starts over\n"
    assert pages.out == "half\nanswer: half\n"


def test_says_that_one_item_starts_over() -> None:
    """The others keep their text."""
    pages = Pages()
    pages.feed(
        _chunk("one", index=0),
        _chunk("two", index=1),
        ("node.restarted", {"node": "answer", "index": 0, "error": {"detail": "gone"}}),
        ("run.finished", {"outputs": {"a": "one", "b": "two"}}),
    )
    assert pages.out == "answer[0]: one\nanswer[1]: two\na: one\n"
