"""Syntax: YAML or JSON text as one stream of events, each with its place.

Knows neither what values mean nor how deep they may go: the reader stops when it has had enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import yaml

from torchloom_workflows.scalar import BadScalar, read_number, read_plain


EventKind = Literal["scalar", "open_map", "open_list", "close", "alias", "document"]

_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\],:"]+', re.DOTALL)
_JSON_MARKS: Mapping[str, EventKind] = {
    "{": "open_map",
    "[": "open_list",
    "}": "close",
    "]": "close",
}
_JSON_WORDS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Event:
    """A step through a document. `value` is a scalar's, or the name of an alias; places are from 1.

    `complaint` says what is wrong with this value, where the text as a whole is still readable.
    """

    kind: EventKind
    line: int
    column: int
    value: object = None
    anchor: str | None = None
    complaint: str | None = None


class BadSyntax(ValueError):
    """The text cannot be read on from here. Places count from 1, where known."""

    def __init__(self, message: str, line: int | None, column: int | None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def read_events(text: str) -> Iterator[Event]:
    """Read the text as JSON if it is JSON, else as YAML. Raises BadSyntax where it breaks off."""
    return _json_events(text) if _is_json(text) else _yaml_events(text)


def _is_json(text: str) -> bool:
    """Tell JSON from YAML in flow style: they differ in escapes, tabs and number words."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _json_events(text: str) -> Iterator[Event]:
    """Walk JSON that is known to be well-formed."""
    line, line_start, seen = 1, 0, 0
    for match in _JSON_TOKEN.finditer(text):
        start = match.start()
        line += text.count("\n", seen, start)
        line_start = max(line_start, text.rfind("\n", seen, start) + 1)
        seen = start
        yield _json_event(match[0], line, start - line_start + 1)


def _json_event(word: str, line: int, column: int) -> Event:
    if word in _JSON_MARKS:
        return Event(_JSON_MARKS[word], line, column)
    try:
        return Event("scalar", line, column, _json_scalar(word))
    except BadScalar as bad:
        return Event("scalar", line, column, complaint=str(bad))


def _json_scalar(word: str) -> object:
    if word in _JSON_WORDS:
        return _JSON_WORDS[word]
    if word in ("NaN", "Infinity", "-Infinity"):
        raise BadScalar(f"{word} is not a finite number.")
    if word[0] != '"':
        return read_number(word)
    value = json.loads(word, strict=False)
    if not _is_text(value):
        raise BadScalar("Half of a surrogate pair is no character.")
    return value


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def _yaml_events(text: str) -> Iterator[Event]:
    try:
        for event in yaml.parse(text, Loader=_YAML_LOADER):
            step = _yaml_event(event)
            if step is not None:
                yield step
    except yaml.MarkedYAMLError as bad:
        mark = bad.problem_mark or bad.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise BadSyntax(_yaml_problem(bad), line, column) from bad
    except yaml.reader.ReaderError as bad:
        # libyaml counts the bytes of the text in UTF-8.
        before = text.encode()[: bad.position].decode(errors="ignore")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise BadSyntax(f"A character is not allowed here: {bad.reason}.", line, column) from bad


def _yaml_problem(bad: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (bad.context, bad.problem) if part]
    hint = ""
    opened, noticed = bad.context_mark, bad.problem_mark
    if opened and noticed and opened.line < noticed.line:
        hint = f" It begins on line {opened.line + 1}."
    if "cannot start any token" in (bad.problem or ""):
        hint = " Quote a value that starts with a special character; indent with spaces, not tabs."
    elif "mapping values are not allowed" in (bad.problem or ""):
        hint = " Quote a value that holds ': '."
    return f"This is not YAML: {', '.join(parts)}.{hint}"


def _yaml_event(event: yaml.Event) -> Event | None:
    mark = event.start_mark
    assert mark is not None
    line, column = mark.line + 1, mark.column + 1
    if isinstance(event, yaml.ScalarEvent):
        return _yaml_scalar(event, line, column)
    if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
        kind: EventKind = "open_map" if isinstance(event, yaml.MappingStartEvent) else "open_list"
        complaint = _tag_complaint(event.tag)
        return Event(kind, line, column, anchor=event.anchor, complaint=complaint)
    if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
        return Event("close", line, column)
    if isinstance(event, yaml.AliasEvent):
        return Event("alias", line, column, event.anchor)
    if isinstance(event, yaml.DocumentStartEvent):
        return Event("document", line, column)
    return None


def _yaml_scalar(event: yaml.ScalarEvent, line: int, column: int) -> Event:
    value: object = event.value
    complaint = _tag_complaint(event.tag)
    if complaint is None and event.implicit[0]:
        try:
            value = read_plain(event.value)
        except BadScalar as bad:
            complaint = str(bad)
    return Event("scalar", line, column, value, anchor=event.anchor, complaint=complaint)


def _tag_complaint(tag: str | None) -> str | None:
    if tag is None:
        return None
    return f"Tags such as {tag!r} are not read. Write the plain value."
