"""Java's properties files (`java.util.Properties`): text to entries, and back.

Knows no key. Comments, continued lines, `=`, `:` and blanks between key and value, and escapes are
as Java has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final


_BLANK: Final = " \t\f"

_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}

_UNESCAPES: Final = {value: f"\\{name}" for name, value in _ESCAPES.items()}

_CODE: Final = re.compile(r"[0-9A-Fa-f]{4}")

_ASCII: Final = range(0x20, 0x7F)


class BadProperties(ValueError):
    """The text is no properties file; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A key and its value, and the line that it begins on."""

    key: str
    value: str
    line: int


def read_properties(text: str) -> list[Entry]:
    """Read the entries in their order, keys that come twice included. Raises BadProperties."""
    return [_to_entry(line, number) for line, number in _logical_lines(text)]


def write_properties(values: Mapping[str, str], comments: Iterable[str] = ()) -> str:
    """Write a file that Java reads, of ASCII alone."""
    lines = [f"#{comment}" for comment in comments]
    for key, value in values.items():
        lines.append(f"{_escape(key, all_blanks=True)}={_escape(value, all_blanks=False)}")
    return "".join(f"{line}\n" for line in lines)


def _logical_lines(text: str) -> Iterator[tuple[str, int]]:
    """Join continued lines; leave out comments and empty lines."""
    parts: list[str] = []
    start = 0
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        stripped = line.lstrip(_BLANK)
        if not parts:
            if not stripped or stripped[0] in "#!":
                continue
            start = number
        num_backslashes = len(stripped) - len(stripped.rstrip("\\"))
        if num_backslashes % 2:
            parts.append(stripped[:-1])
            continue
        yield "".join([*parts, stripped]), start
        parts = []
    if parts:
        yield "".join(parts), start


def _to_entry(line: str, number: int) -> Entry:
    end = _end_of_key(line)
    rest = line[end:].lstrip(_BLANK)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(_BLANK)
    return Entry(key=_unescape(line[:end], number), value=_unescape(rest, number), line=number)


def _end_of_key(line: str) -> int:
    is_escaped = False
    for place, character in enumerate(line):
        if is_escaped:
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character in "=:" or character in _BLANK:
            return place
    return len(line)


def _unescape(text: str, line: int) -> str:
    if "\\" not in text:
        return text
    units: list[str] = []
    place = 0
    while place < len(text):
        character = text[place]
        place += 1
        if character != "\\":
            units.append(character)
            continue
        escaped = text[place : place + 1]
        place += 1
        if escaped == "u":
            code = text[place : place + 4]
            if _CODE.fullmatch(code) is None:
                raise BadProperties(r"Malformed \uxxxx encoding: four hex digits follow \u.", line)
            units.append(chr(int(code, 16)))
            place += 4
        else:
            units.append(_ESCAPES.get(escaped, escaped))
    # Java's characters are UTF-16 units: two escapes may be the halves of one character.
    joined = "".join(units).encode("utf-16", "surrogatepass")
    return joined.decode("utf-16", "replace")


def _escape(text: str, *, all_blanks: bool) -> str:
    escaped: list[str] = []
    for place, character in enumerate(text):
        if character in _UNESCAPES:
            escaped.append(_UNESCAPES[character])
        elif character in "\\=:#!" or (character == " " and (all_blanks or place == 0)):
            escaped.append(f"\\{character}")
        elif ord(character) in _ASCII:
            escaped.append(character)
        else:
            units = character.encode("utf-16-be", "surrogatepass").hex().upper()
            escaped += [f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)]
    return "".join(escaped)
