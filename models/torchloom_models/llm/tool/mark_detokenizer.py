"""MarkDetokenizer: shows the special tokens that calls are marked with. Knows no calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Detokenizes(Protocol):
    """Whatever turns tokens into text as they come."""

    def push(self, token: int) -> str:
        """Take a token; give the text that it completes."""
        ...


class MarkDetokenizer:
    """Another detokenizer, but for tokens that are marks, which have the text given here."""

    def __init__(self, inner: Detokenizes, marks: Mapping[int, str]) -> None:
        self._inner = inner
        self._marks = marks

    def push(self, token: int) -> str:
        """Take a token; give the text that it completes."""
        return self._marks.get(token) or self._inner.push(token)
