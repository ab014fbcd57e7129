"""Transcript: a run as it is printed while it goes on. Knows no server and starts nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeGuard

from rich.console import Console
from rich.markup import escape

from torchloom_api.cli.failure import Failure
from torchloom_api.cli.glimpse import glimpse
from torchloom_api.cli.run_event import RunEvent
from torchloom_api.cli.screen import error_screen, print_documents, screen


#: Characters of a value of an item that is done; all of it is among the outputs.
_MAX_LINE = 60


class Transcript:
    """Prints text as it streams, then what else came out, then how long each node took.

    A label stands before text once the run streams more than one node or item. An item of a foreach
    that is done is worth a line, unless its text was streamed; pictures are told in words. Such a
    line waits until a line of streamed text is complete, so that neither breaks the other.
    """

    def __init__(self, out: Console = screen, notes: Console = error_screen) -> None:
        self.outputs: Mapping[str, object] | None = None
        self._out = out
        self._notes = notes
        self._texts: dict[tuple[str, object], list[str]] = {}
        self._current: tuple[str, object] | None = None
        self._is_in_line = False
        self._held: list[str] = []

    def show(self, event: RunEvent) -> None:
        """Print what an event brings. Raises Failure for a run that failed."""
        match event.type:
            case "node.chunk":
                self._show_chunk(event.data)
            case "node.item":
                self._show_item(event.data)
            case "node.restarted":
                self._restart(event.data)
            case "node.retried":
                self._show_retry(event.data)
            case "run.finished":
                self._finish(event.data)
            case "run.failed":
                self._end_line()
                raise _to_failure(event.data)
            case _:
                pass

    def _show_chunk(self, data: Mapping[str, object]) -> None:
        place = (str(data.get("node")), data.get("index"))
        text = _to_text(data)
        if text is None:
            if "image" in data:
                self._hold(f"{_label(place)}: a picture")
            return
        if place != self._current:
            self._end_line()
            if self._texts or place[1] is not None:
                self._out.print(f"[bold]{escape(_label(place))}:[/] ", end="", highlight=False)
            self._current = place
        self._texts.setdefault(place, []).append(text)
        for line in text.splitlines(keepends=True):
            self._out.print(line, end="", markup=False, highlight=False, soft_wrap=True)
            self._is_in_line = not line.endswith("\n")
            self._let_out()

    def _show_item(self, data: Mapping[str, object]) -> None:
        """Tell what an item of a foreach gave; one that was cut from text was in that text."""
        outputs = data.get("outputs")
        place = (str(data.get("node")), data.get("index"))
        if isinstance(outputs, Mapping) and place not in self._texts:
            parts = [f"{name} {_to_line(value)}" for name, value in outputs.items()]
            self._hold(f"{_label(place)}: {' · '.join(parts)}")

    def _restart(self, data: Mapping[str, object]) -> None:
        node, index = str(data.get("node")), data.get("index")
        self._texts = {
            place: pieces
            for place, pieces in self._texts.items()
            if place[0] != node or index not in (None, place[1])
        }
        why = f" after: {_to_words(data['error'])}" if "error" in data else ""
        self._note(f"{_label((node, index))}: starts over{why}")

    def _show_retry(self, data: Mapping[str, object]) -> None:
        error = _to_words(data.get("error"))
        self._note(f"{data.get('node')}: attempt {data.get('attempt')} after: {error}")

    def _finish(self, data: Mapping[str, object]) -> None:
        self._end_line()
        outputs = data.get("outputs")
        self.outputs = outputs if isinstance(outputs, Mapping) else {}
        streamed = {"".join(pieces).strip() for pieces in self._texts.values()}
        for name, value in self.outputs.items():
            if not (isinstance(value, str) and value.strip() in streamed):
                self._show_output(name, value)
        self._show_timings(data.get("timings"))

    def _show_output(self, name: str, value: object) -> None:
        if isinstance(value, str):
            shown = escape(str(glimpse(value)))
            self._out.print(f"[bold]{escape(name)}:[/] {shown}", highlight=False)
        elif _is_documents(value):
            self._out.print(f"[bold]{escape(name)}:[/]", highlight=False)
            print_documents(value, self._out)
        else:
            self._out.print(f"[bold]{escape(name)}:[/] ", end="", highlight=False)
            self._out.print_json(data=glimpse(value))

    def _show_timings(self, timings: object) -> None:
        if not isinstance(timings, Mapping):
            return
        nodes = timings.get("nodes")
        parts = [f"{timings.get('total_s', 0):.2f} s"]
        if isinstance(nodes, Mapping):
            parts += [f"{name} {node.get('run_s') or 0:.2f}" for name, node in nodes.items()]
        self._notes.print(f"[dim]{escape(' · '.join(parts))}[/]", highlight=False)

    def _note(self, text: str) -> None:
        """Print a note now, whatever is being written."""
        self._end_line()
        self._print_note(text)

    def _hold(self, text: str) -> None:
        """Print a note as soon as no line of text is broken by it."""
        self._held.append(text)
        self._let_out()

    def _let_out(self) -> None:
        if not self._is_in_line:
            for text in self._held:
                self._print_note(text)
            self._held.clear()

    def _print_note(self, text: str) -> None:
        self._notes.print(f"[yellow]{escape(text)}[/]", highlight=False)

    def _end_line(self) -> None:
        if self._is_in_line:
            self._out.print()
        self._current, self._is_in_line = None, False
        self._let_out()


def _to_text(data: Mapping[str, object]) -> str | None:
    """Give a chunk's text, or its data as a line of JSON; None where it has neither."""
    value = data.get("text", data.get("data"))
    if value is None:
        return None
    if isinstance(value, str) and "text" in data:
        return value
    shown = glimpse(value)
    return shown if isinstance(shown, str) else f"{json.dumps(shown, ensure_ascii=False)}\n"


def _to_line(value: object) -> str:
    """Give any value as one line that is not too long."""
    shown = glimpse(value)
    text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 1]}…"


def _to_words(error: object) -> object:
    """Give what a problem document says."""
    return error.get("detail") if isinstance(error, Mapping) else error


def _label(place: tuple[str, object]) -> str:
    node, index = place
    return node if index is None else f"{node}[{index}]"


def _is_documents(value: object) -> TypeGuard[list[Mapping[str, object]]]:
    return isinstance(value, list) and all(isinstance(i, Mapping) and "text" in i for i in value)


def _to_failure(data: Mapping[str, object]) -> Failure:
    error = data.get("error")
    problem = error if isinstance(error, Mapping) else {"detail": str(error)}
    status = problem.get("status")
    return Failure.from_problem(status if isinstance(status, int) else 500, problem)
