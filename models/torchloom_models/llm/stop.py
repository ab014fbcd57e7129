"""StopMatcher: finds stop strings in text that comes in pieces. Knows no tokens."""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Passes text through, holding back whatever may be the start of a stop string.

    What `push` and `flush` have given, put together, never holds any part of a stop string that was
    completed: the text ends right before the first one.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Take more text; give what may be sent, and whether a stop string is complete."""
        if not self._stops:
            return text, False
        held = self._held + text
        found = min((at for stop in self._stops if (at := held.find(stop)) >= 0), default=-1)
        if found >= 0:
            self._held = ""
            return held[:found], True
        keep = max(overlap(held, stop) for stop in self._stops)
        cut = len(held) - keep
        self._held = held[cut:]
        return held[:cut], False

    def flush(self) -> str:
        """Give what was held back, once nothing follows any more."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, stop: str) -> int:
    """Give the length of the longest end of `text` that begins `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
