"""EventLog: what happened in a run, in order, for any number of readers. Knows no event's meaning.

Each reader has a cursor of its own into one list, so that a slow or dead reader costs nothing and
holds up nobody, and one that comes back goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import msgspec


class RunEvent(msgspec.Struct, frozen=True):
    """Something that happened in a run. Ids rise by one from 1."""

    id: int
    type: str
    data: Mapping[str, object]


#: What an event tells: as it stands, or worked out when it is first wanted.
Told = Mapping[str, object] | Callable[[], Mapping[str, object]]


class EventLog:
    """Append-only until it is closed.

    Bounded by what a run can do: tokens and items have limits. Most runs are over before anyone
    has read of them: an event is made for each reader.
    """

    def __init__(self) -> None:
        self._told: list[tuple[str, Told]] = []
        self._is_closed = False
        self._waiters: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        """Count the events."""
        return len(self._told)

    def add(self, kind: str, data: Told) -> None:
        """Append an event and wake the readers."""
        self._told.append((kind, data))
        if self._waiters:
            self._wake()

    def close(self) -> None:
        """Let the readers come to the end."""
        self._is_closed = True
        self._wake()

    async def follow(self, after: int = 0) -> AsyncIterator[RunEvent]:
        """Give every event with an id above `after`, then those to come, to the end."""
        cursor = max(after, 0)
        while True:
            while cursor < len(self._told):
                cursor += 1
                yield self._event(cursor)
            if self._is_closed:
                return
            await self._changed()

    def _event(self, number: int) -> RunEvent:
        kind, data = self._told[number - 1]
        if callable(data):
            data = data()
            self._told[number - 1] = (kind, data)
        return RunEvent(number, kind, data)

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
