"""Detokenizer: tokens to text as they come, whole characters alone. Knows no stop strings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


#: What decoders put where bytes do not make up a character, or not yet.
_REPLACEMENT = "\ufffd"

#: A character of four bytes lacks one at least: so many replacements at the end may still change.
_MAX_OPEN = 3

#: How many tokens are looked at first that stand before a text.
_MIN_BEFORE = 4

#: Text that stays broken for so many tokens is given as it is.
_MAX_WINDOW = 64


class Detokenizes(Protocol):
    """Whatever turns tokens into text as they come."""

    @property
    def num_given(self) -> int:
        """How many characters it has given."""
        ...

    def push(self, token: int) -> str:
        """Take a token; give the text that it completes."""
        ...


class Detokenizer:
    """Decodes a growing list of tokens: each `push` gives the text that has become certain.

    A token's text may depend on those before it (spaces, characters split over tokens), so each is
    decoded in a window that starts with tokens already given. The pieces together are what the list
    adds to the text of `before`, the tokens that it goes on from, save for an unfinished character
    at its very end.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._window = _last_with_text(decode, before)
        self._num_settled = len(self._window)
        self._given = decode(self._window)
        #: How many characters it has given.
        self.num_given = 0

    def push(self, token: int) -> str:
        """Take a token; give the text that it completes, often empty."""
        self._window.append(token)
        text = self._decode(self._window)
        is_settled = not text.endswith(_REPLACEMENT) or len(self._window) > _MAX_WINDOW
        certain = text if is_settled else _without_open_end(text)
        new = certain[len(self._given) :]
        if is_settled and new:
            self._window = self._window[self._num_settled :]
            self._num_settled = len(self._window)
            self._given = self._decode(self._window)
        elif is_settled:
            self._window.pop()  # a special token: it has no text, now or later
        elif new:
            self._given = certain
        self.num_given += len(new)
        return new


def _last_with_text(decode: Callable[[Sequence[int]], str], tokens: Sequence[int]) -> list[int]:
    """Give tokens from the end, so many that there is text: special ones alone have none.

    Decoders take a space from the first token that has text, and so not from what follows on these.
    """
    size = _MIN_BEFORE
    while size < len(tokens) and not decode(tokens[-size:]).strip(_REPLACEMENT):
        size *= 2
    return list(tokens[-size:])


def _without_open_end(text: str) -> str:
    end = len(text)
    while end > len(text) - _MAX_OPEN and text[end - 1 : end] == _REPLACEMENT:
        end -= 1
    return text[:end]
