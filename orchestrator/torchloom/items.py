"""ItemCutter: cuts a stream of text into items. Knows no node and no model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import regex

from torchloom.errors import TaskFailed
from torchloom.graph import Items


#: Seconds that the search of a user's pattern through a whole text may take.
_PATTERN_TIMEOUT_S = 1.0

#: Seconds that all searches while a text is being written may take; then it is left to its end.
_LIVE_TIMEOUT_S = 0.25


class ItemCutter:
    """Takes text as it comes and gives each item when it is complete, then the rest at the end.

    `lines` gives lines that are not blank, stripped. `json` gives the elements of the first JSON
    list. A regex gives each match, its first group or all of it, once text stands behind it: what
    follows does not take it back. Raises TaskFailed for a list or a pattern that takes too much.
    """

    def __init__(self, items: Items) -> None:
        self.items = items
        self._text = ""
        self._position = 0
        self._in_list = False
        self._decoder = json.JSONDecoder()
        self._pattern = regex.compile(items.pattern or "")
        self._skips_empty = False
        # A pattern that searches backwards begins with what comes last.
        self._live_s = 0.0 if self._pattern.flags & regex.REVERSE else _LIVE_TIMEOUT_S

    def feed(self, text: str) -> list[object]:
        """Take a piece of text in; give the items that it completes."""
        self._text += text
        return self._cut(is_end=False)

    def finish(self, text: str = "") -> list[object]:
        """Take the last piece of text in; give what is left."""
        self._text += text
        return self._cut(is_end=True)

    def _cut(self, *, is_end: bool) -> list[object]:
        if self.items.by == "lines":
            return self._cut_lines(is_end=is_end)
        if self.items.by == "json":
            return self._cut_json(is_end=is_end)
        return self._cut_matches(is_end=is_end)

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
        except (RecursionError, ValueError) as error:
            message = "The list is nested too deep, or holds a number that is too long."
            raise TaskFailed(message) from error
        # A number may go on in the next piece: it is over when something follows it.
        may_go_on = isinstance(value, int | float) and not isinstance(value, bool)
        if end == len(self._text) and may_go_on and not is_end:
            return None
        self._position = end
        return (value,)

    def _cut_matches(self, *, is_end: bool) -> list[object]:
        left_s = _PATTERN_TIMEOUT_S if is_end else self._live_s
        if left_s <= 0:
            return []
        began = time.monotonic()
        found: list[object] = []
        try:
            found.extend(self._search(left_s, is_end=is_end))
        except TimeoutError:
            if is_end:
                message = f"The pattern {self.items.pattern!r} takes too long on this text."
                raise TaskFailed(message) from None
            left_s = 0.0
        if not is_end:
            self._live_s = left_s - (time.monotonic() - began)
        return found

    def _search(self, timeout_s: float, *, is_end: bool) -> Iterator[object]:
        """Give matches from the position on, and move it to where the next one may begin."""
        text, start = self._text, self._position
        skips_empty = self._skips_empty
        for match in self._pattern.finditer(text, start, partial=not is_end, timeout=timeout_s):
            group = 1 if self._pattern.groups else 0
            if skips_empty and match.span() == (start, start):
                continue
            # One that reaches the end of the text is no match yet, or may become a longer one.
            if not is_end and (match.partial or len(text) in (match.end(), match.end(group))):
                if match.start() > self._position:
                    self._position, self._skips_empty = match.start(), False
                return
            self._position, self._skips_empty = match.end(), match.start() == match.end()
            yield match[group]


def cut(items: Items, text: str) -> list[object]:
    """Cut a whole text."""
    return ItemCutter(items).finish(text)
