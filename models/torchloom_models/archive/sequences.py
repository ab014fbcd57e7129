"""Sequences: requests that belong together, one after the other. Knows no handler.

A sequence begins with the first request of its id, or one that names none; it ends when the handler
or a request says so, or when it has been idle, or there, for too long.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torchloom.errors import QueueFull
from torchloom_models.archive.context import SEQUENCE_END, SEQUENCE_ID, SEQUENCE_START


#: What stands in headers for yes.
_YES = "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceLimits:
    """How many sequences there may be, and for how long; 0 seconds: without end."""

    most: int = 1
    max_idle_s: float = 0.0
    max_life_s: float = 0.0


@dataclass(slots=True)
class _Sequence:
    """One that is open."""

    begun_at: float
    used_at: float
    num_rows: int = 0
    num_done: int = 0


class Sequences:
    """The sequences that are open here. All requests of one come to the same worker."""

    def __init__(
        self, limits: SequenceLimits, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._now = now
        self._open: dict[str, _Sequence] = {}

    def join(self, sequence_id: str, headers: Mapping[str, object]) -> tuple[str, dict[str, str]]:
        """Add a request; give the id of its sequence, and the headers that tell the handler.

        Raises QueueFull where there are too many.
        """
        self._expire()
        own = sequence_id or str(headers.get(SEQUENCE_ID, ""))
        is_start = not own or str(headers.get(SEQUENCE_START, "")).lower() == _YES
        own = own or f"ts-seq-{uuid.uuid4()}"
        if own not in self._open:
            self._begin(own)
        self._open[own].num_rows += 1
        return own, {SEQUENCE_ID: own, **({SEQUENCE_START: _YES} if is_start else {})}

    def settle(self, sequence_id: str) -> None:
        """Take note that a request of a sequence has its answer."""
        found = self._open.get(sequence_id)
        if found is not None:
            found.num_rows -= 1
            found.num_done += 1
            found.used_at = self._now()

    def leave(self, sequence_id: str) -> None:
        """Take a request back that has had no answer; a sequence that only had that one goes."""
        found = self._open.get(sequence_id)
        if found is not None:
            found.num_rows -= 1
            if not found.num_rows and not found.num_done:
                del self._open[sequence_id]

    def end(self, ids: Iterable[str]) -> None:
        """Close sequences."""
        for each in ids:
            self._open.pop(each, None)

    def _begin(self, own: str) -> None:
        if len(self._open) >= self._limits.most:
            message = f"{self._limits.most} sequences are open, and more there may not be."
            raise QueueFull(message)
        now = self._now()
        self._open[own] = _Sequence(now, now)

    def _expire(self) -> None:
        now, limits = self._now(), self._limits
        for own, each in list(self._open.items()):
            is_idle = limits.max_idle_s and now - each.used_at > limits.max_idle_s
            is_old = limits.max_life_s and now - each.begun_at > limits.max_life_s
            if not each.num_rows and (is_idle or is_old):
                del self._open[own]


def ended_by(own: str, headers: Iterable[Mapping[str, object]]) -> list[str]:
    """Give the sequences that headers of a request or an answer end: ids, or `true` for its own."""
    said = [str(each[SEQUENCE_END]) for each in headers if each.get(SEQUENCE_END)]
    parts = [part.strip() for each in said for part in each.split(";") if part.strip()]
    return [own if part.lower() == _YES else part for part in parts]
