"""LogLayout: how an event becomes a line: by one of log4j's patterns, or as JSON.

Knows no file. A layout is made once, and writes lines by one formatting operation each.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Final, Literal, Protocol

import msgspec
from msgspec.structs import replace

from torchloom.errors import TorchLoomError


Level = Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]


class InvalidLayout(TorchLoomError):
    """A pattern that cannot be kept."""

    title = "Invalid log layout"


class LogEvent(msgspec.Struct, frozen=True, array_like=True, tag="line"):
    """What is logged. `at` is in seconds since 1970."""

    logger: str
    level: Level
    thread: str
    at: float
    message: str


class Layout(Protocol):
    """How events become lines."""

    def __call__(self, event: LogEvent) -> str:
        """Write one."""
        ...

    def write_all(self, event: LogEvent, messages: Sequence[str]) -> str:
        """Write events that are alike but for their messages."""
        ...


_FIELD_NAMES: Final = LogEvent.__struct_fields__

_MESSAGE: Final = _FIELD_NAMES.index("message")

#: Stands for messages until they are known.
_MARK: Final = "\x02"

#: Gives all fields of an event, in their order.
_fields_of: Final = attrgetter(*_FIELD_NAMES)

#: A conversion of a pattern: `%-5p`, `%d{ISO8601}`; two signs stand for one.
_CONVERSION: Final = re.compile(
    r"%(?:(?P<percent>%)|(?P<size>-?\d*(?:\.-?\d+)?)(?P<word>[a-zA-Z]+)(?P<options>(?:\{[^}]*\})*))"
)

#: What a conversion stands for, by each of its names, longest first where they begin alike.
_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("d", "date"), "date"),
        **dict.fromkeys(("p", "level"), "level"),
        **dict.fromkeys(("t", "tn", "thread", "threadName"), "thread"),
        **dict.fromkeys(("c", "logger"), "logger"),
        **dict.fromkeys(("m", "msg", "message"), "message"),
        "n": "line",
        # Exceptions are a part of the message here.
        **dict.fromkeys(("ex", "exception", "throwable", "xEx", "xThrowable"), "nothing"),
    }
)

#: Names of log4j for formats of dates, in its own words.
_DATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "": "yyyy-MM-dd HH:mm:ss,SSS",
        "DEFAULT": "yyyy-MM-dd HH:mm:ss,SSS",
        "ISO8601": "yyyy-MM-dd'T'HH:mm:ss,SSS",
        "ISO8601_BASIC": "yyyyMMdd'T'HHmmss,SSS",
        "ABSOLUTE": "HH:mm:ss,SSS",
        "COMPACT": "yyyyMMddHHmmssSSS",
        "DATE": "dd MMM yyyy HH:mm:ss,SSS",
    }
)

#: Parts of a date in Java's words, and strftime's; milliseconds come last.
_JAVA_DATE: Final = re.compile(r"'([^']*)'|(yyyy|yy|MMM|MM|dd|HH|hh|mm|ss|SSS|a|EEE|Z)|([A-Za-z]+)")
_STRFTIME: Final[Mapping[str, str]] = MappingProxyType(
    {
        "yyyy": "%Y",
        "yy": "%y",
        "MMM": "%b",
        "MM": "%m",
        "dd": "%d",
        "HH": "%H",
        "hh": "%I",
        "mm": "%M",
        "ss": "%S",
        "a": "%p",
        "EEE": "%a",
        "Z": "%z",
    }
)

#: Stands for milliseconds until they are known: strftime leaves it alone.
_MILLISECONDS: Final = "\x01"


class Stamp:
    """Writes moments in one format; what changes once a second is written once a second."""

    def __init__(self, java: str) -> None:
        self._format = to_strftime(java)
        self._second = -1
        self._millisecond = -1
        self._of_second = self._text = ""

    def write(self, at: float) -> str:
        """Write a moment, in local time."""
        # A moment is no whole number of milliseconds in binary: 0.293 s may be a little less.
        millisecond = int(at * 1000 + 0.001)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            second, rest = divmod(millisecond, 1000)
            if second != self._second:
                self._second = second
                self._of_second = time.strftime(self._format, time.localtime(second))
            self._text = self._of_second.replace(_MILLISECONDS, f"{rest:03d}")
        return self._text


def to_strftime(java: str) -> str:
    """Say Java's format of a date in Python's words. Raises InvalidLayout."""

    def say(match: re.Match[str]) -> str:
        quoted, known, unknown = match.groups()
        if unknown is not None:
            raise InvalidLayout(f"The date format {java!r} has {unknown!r}, which is not known.")
        if quoted is not None:
            return quoted.replace("%", "%%")
        return _MILLISECONDS if known == "SSS" else _STRFTIME[known]

    return _JAVA_DATE.sub(say, java.replace("%", "%%"))


def make_pattern(pattern: str) -> Layout:
    """Make a layout of log4j's PatternLayout. Raises InvalidLayout for what is not known."""
    stamps: list[Stamp] = []
    places: list[int] = []
    is_cut = False

    def convert(match: re.Match[str]) -> str:
        if match["percent"]:
            return "%%"
        nonlocal is_cut
        word, rest = _split(match["word"], pattern)
        field = _FIELDS[word]
        is_cut = is_cut or (field == "message" and bool(match["size"]))
        if field == "line":
            return f"\n{rest}"
        if field == "nothing":
            return rest
        if field == "date":
            name = match["options"].split("}", 1)[0].removeprefix("{")
            stamps.append(Stamp(_DATES.get(name, name)))
            places.append(-len(stamps))
        else:
            places.append(_FIELD_NAMES.index(field))
        return f"%{match['size']}s{rest}"

    template = "".join(_convert_all(pattern, convert))
    return _Pattern(template, places, stamps, is_cut=is_cut)


class _Pattern:
    """Fills a template with fields by their places; those from -1 down are stamps.

    `is_cut`: messages are not written as they are, but to some length.
    """

    def __init__(
        self, template: str, places: Sequence[int], stamps: Sequence[Stamp], *, is_cut: bool
    ) -> None:
        self._template = template
        self._stamps = list(reversed(stamps))
        picked = [place % (len(stamps) + len(_FIELD_NAMES)) for place in places]
        #: Whether what is around messages is the same for all that are alike otherwise.
        self._has_frame = picked.count(_MESSAGE) == 1 and not is_cut
        # Of one place alone, itemgetter would give no tuple.
        self._pick: Callable[[Sequence[str]], tuple[str, ...]] = (
            itemgetter(*picked)
            if len(picked) > 1
            else lambda fields: tuple(fields[place] for place in picked)
        )

    def __call__(self, event: LogEvent) -> str:
        stamps = [stamp.write(event.at) for stamp in self._stamps]
        return self._template % self._pick((*_fields_of(event), *stamps))

    def write_all(self, event: LogEvent, messages: Sequence[str]) -> str:
        if not self._has_frame or len(messages) == 1:
            return _write_each(self, event, messages)
        framed = self(replace(event, message=_MARK))
        if framed.count(_MARK) != 1:  # the pattern has one, too
            return _write_each(self, event, messages)
        head, _, tail = framed.partition(_MARK)
        return "".join([f"{head}{message}{tail}" for message in messages])


def _write_each(layout: Layout, event: LogEvent, messages: Sequence[str]) -> str:
    return "".join([layout(replace(event, message=message)) for message in messages])


def _convert_all(pattern: str, convert: Callable[[re.Match[str]], str]) -> list[str]:
    parts: list[str] = []
    end = 0
    for match in _CONVERSION.finditer(pattern):
        parts += [pattern[end : match.start()].replace("%", "%%"), convert(match)]
        end = match.end()
    return [*parts, pattern[end:].replace("%", "%%")]


def _split(word: str, pattern: str) -> tuple[str, str]:
    """Find the longest conversion that a word begins with, and what is left of it: `%mabc`."""
    for length in range(len(word), 0, -1):
        if word[:length] in _FIELDS:
            return word[:length], word[length:]
    raise InvalidLayout(f"The pattern {pattern!r} has the conversion %{word}, which is not known.")


class JsonLayout:
    """One JSON object a line."""

    def __init__(self) -> None:
        self._stamp = Stamp(_DATES["ISO8601"])

    def __call__(self, event: LogEvent) -> str:
        """Write one."""
        value = {
            "timestamp": self._stamp.write(event.at),
            "level": event.level,
            "thread": event.thread,
            "logger": event.logger,
            "message": event.message,
        }
        return json.dumps(value, ensure_ascii=False) + "\n"

    def write_all(self, event: LogEvent, messages: Sequence[str]) -> str:
        """Write events that are alike but for their messages."""
        return _write_each(self, event, messages)
