"""ItemCutter: cuts a stream of text into items. Knows no node and no model."""

from __future__ import annotations

import json

import regex

from torchloom.errors import TaskFailed
from torchloom.graph import Items


#: Seconds that one search of a user's pattern may take.
_PATTERN_TIMEOUT_S = 1.0


class ItemCutter:
    """Takes text as it comes and gives each item when it is complete, then the rest at the end.

    `lines` gives lines that are not blank, stripped. `json` gives the elements of the first JSON
    list. A regex gives each match: its first group, or all of it.
    """

    def __init__(self, items: Items) -> None:
        self._items = items
        self._text = ""
        self._position = 0
        self._in_list = False
        self._decoder = json.JSONDecoder()

    def feed(self, text: str) -> list[object]:
        """Take a piece of text in; give the items that it completes."""
        self._text += text
        return self._cut(is_end=False)

    def finish(self) -> list[object]:
        """Give what is left at the end of the text."""
        return self._cut(is_end=True)

    def _cut(self, *, is_end: bool) -> list[object]:
        if self._items.by == "lines":
            return self._cut_lines(is_end=is_end)
        if self._items.by == "json":
            return self._cut_json(is_end=is_end)
        return self._cut_matches() if is_end else []

    def _cut_lines(self, *, is_end: bool) -> list[object]:
        *lines, self._text = self._text.split("\n")
        if is_end:
            lines.append(self._text)
            self._text = ""
        return [line.strip() for line in lines if line.strip()]

    def _cut_json(self, *, is_end: bool) -> list[object]:
        if not self._in_list:
            start = self._text.find("[", self._position)
            if start < 0:
                return []
            self._in_list, self._position = True, start + 1
        found: list[object] = []
        while (item := self._next_element(is_end=is_end)) is not None:
            found.append(item[0])
        return found

    def _next_element(self, *, is_end: bool) -> tuple[object] | None:
        """Decode one element; None where it is not complete, or the list is over."""
        while self._position < len(self._text) and self._text[self._position] in " \t\r\n,":
            self._position += 1
        if self._position >= len(self._text) or self._text[self._position] == "]":
            return None
        try:
            value, end = self._decoder.raw_decode(self._text, self._position)
        except json.JSONDecodeError:
            return None
        # A number may go on in the next piece: it is over when something follows it.
        if end == len(self._text) and not is_end:
            return None
        self._position = end
        return (value,)

    def _cut_matches(self) -> list[object]:
        pattern = regex.compile(self._items.pattern or "")
        try:
            matches = list(pattern.finditer(self._text, timeout=_PATTERN_TIMEOUT_S))
        except TimeoutError:
            message = f"The pattern {self._items.pattern!r} takes too long on this text."
            raise TaskFailed(message) from None
        return [match[1] if pattern.groups else match[0] for match in matches]


def cut(items: Items, text: str) -> list[object]:
    """Cut a whole text."""
    cutter = ItemCutter(items)
    return [*cutter.feed(text), *cutter.finish()]
