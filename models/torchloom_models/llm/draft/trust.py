"""Trust: how many tokens a draft model is let guess for one sequence, by how many were right.

Knows no model and no tokens.
"""

from __future__ import annotations

from math import ceil
from typing import Final


#: How many right tokens of a guess are hoped for at first, and after a pause.
_BEGIN, _AGAIN = 1.5, 0.75

#: With a mean of so many or fewer, guesses pause.
_LEAST: Final = 0.5

#: What the latest guess counts in the mean.
_SHARE: Final = 1 / 3

#: A guess is so many times as long as the mean; one that is all right counts as so many times.
_GROWTH: Final = 2

#: How many tokens a pause takes at first, and at most; each is twice as long as the one before.
_FIRST_PAUSE, _MAX_PAUSE = 8, 128


class Trust:
    """The moving mean of how many tokens of a guess were right."""

    __slots__ = ("_mean", "_next_pause", "_num_asked", "_pause")

    def __init__(self) -> None:
        self._mean = _BEGIN
        self._num_asked = 0
        self._pause = 0
        self._next_pause = _FIRST_PAUSE

    @property
    def is_poor(self) -> bool:
        """Whether guesses have paused, and were not right often enough since."""
        return self._next_pause > _FIRST_PAUSE

    def heir(self) -> Trust:
        """Give another sequence's, which begins where this one stands: mostly texts are alike."""
        heir = Trust()
        heir._mean, heir._pause, heir._next_pause = self._mean, self._pause, self._next_pause
        return heir

    def limit(self, most: int) -> int:
        """Give how many tokens may be guessed now; 0 in a pause, which is a token shorter then."""
        if self._pause:
            self._pause -= 1
            return 0
        self._num_asked = min(most, ceil(_GROWTH * self._mean))
        return self._num_asked

    def learn(self, num_right: int) -> None:
        """Note how many tokens of the last guess were right."""
        # More of one that is all right might have been.
        found = _GROWTH * num_right if num_right >= self._num_asked else num_right
        self._mean += _SHARE * (found - self._mean)
        if self._mean >= _BEGIN:
            self._next_pause = _FIRST_PAUSE
        if self._mean <= _LEAST:
            self._pause, self._mean = self._next_pause, _AGAIN
            self._next_pause = min(2 * self._next_pause, _MAX_PAUSE)
