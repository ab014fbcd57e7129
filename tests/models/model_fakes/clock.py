"""A clock that stands still until a test moves it."""

from __future__ import annotations


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Give the time, in seconds."""
        return self.now_s
