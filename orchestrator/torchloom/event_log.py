"""EventLog: what happened in a run, in order, for any number of readers. Knows no event's meaning.

Each reader has a cursor of its own into one list, so that a slow or dead reader costs nothing and
holds up nobody, and one that comes back goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import msgspec


class RunEvent(msgspec.Struct, frozen=True):
    """Something that happened in a run. Ids rise by one from 1."""

    id: int
    type: str
    data: Mapping[str, object]


class EventLog:
    """Append-only until it is closed.

    Bounded by what a run can do: tokens and items have limits.
    """

    def __init__(self) -> None:
        self._events: list[RunEvent] = []
        self._is_closed = False
        self._waiters: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        """Count the events."""
        return len(self._events)

    def add(self, kind: str, data: Mapping[str, object]) -> None:
        """Append an event and wake the readers."""
        self._events.append(RunEvent(len(self._events) + 1, kind, data))
        self._wake()

    def close(self) -> None:
        """Let the readers come to the end."""
        self._is_closed = True
        self._wake()

    async def follow(self, after: int = 0) -> AsyncIterator[RunEvent]:
        """Give every event with an id above `after`, then those to come, to the end."""
        cursor = max(after, 0)
        while True:
            while cursor < len(self._events):
                yield self._events[cursor]
                cursor += 1
            if self._is_closed:
                return
            await self._changed()

    async def _changed(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
