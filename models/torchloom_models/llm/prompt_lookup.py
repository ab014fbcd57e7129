"""PromptLookup: guesses what a sequence writes next, from where its latest tokens stood before.

Answers that copy from their prompt are guessed rightly for many tokens in a row. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens


#: So many of the latest tokens must have stood together before.
_MATCH = 3

#: After a guess of which nothing was right, the next are left out: one, two, four, up to so many.
_MAX_PAUSE = 32

#: A guess is so many times as long as what was right of the one before.
_GROWTH = 2


class PromptLookup:
    """The index of one sequence, which grows with it."""

    __slots__ = ("_longest", "_next_pause", "_num_indexed", "_pause", "_place_after")

    def __init__(self) -> None:
        self._place_after: dict[tuple[int, ...], int] = {}
        self._num_indexed = _MATCH
        self._pause = 0
        self._next_pause = 1
        self._longest: int | None = None

    def guess(self, ids: Tokens[int], limit: int) -> list[int]:
        """Give at most `limit` tokens that may follow on `ids`, all tokens of the sequence."""
        # Those that end the sequence are not looked up among themselves.
        for end in range(self._num_indexed, len(ids)):
            self._place_after[tuple(ids[end - _MATCH : end])] = end
        self._num_indexed = max(self._num_indexed, len(ids))
        if self._pause:
            self._pause -= 1
            return []
        limit = limit if self._longest is None else min(limit, self._longest)
        place = self._place_after.get(tuple(ids[-_MATCH:]))
        return [] if place is None else list(ids[place : place + limit])

    def learn(self, num_right: int) -> None:
        """Note how many tokens of the last guess were right."""
        self._longest = _GROWTH * max(num_right, 1)
        if num_right:
            self._pause, self._next_pause = 0, 1
            return
        self._pause = self._next_pause
        self._next_pause = min(2 * self._next_pause, _MAX_PAUSE)
