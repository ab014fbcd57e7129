"""ResultCache: node results by the hash of their inputs, and identical calls in flight run once.

Knows no node and no model: a call is a coroutine that takes a chunk sink and gives outputs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from torchloom.engine import Values
from torchloom.errors import InvalidInput


#: Takes each chunk of an answer as it comes.
Sink = Callable[[Values], None]

Outcome = Literal["hit", "shared", "miss"]


def _to_plain(value: object) -> object:
    """Give what json cannot write in a form that tells different values apart."""
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return ["ndarray", value.dtype.str, list(value.shape), digest]
    if isinstance(value, bytes | bytearray | memoryview):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, np.generic):
        return value.item()
    message = f"A value of type {type(value).__name__!r} cannot be a cache key."
    raise TypeError(message)


def hash_call(callee: str, inputs: Values, params: Values) -> str:
    """Give the key of a call: the same for the same values, whatever the order of their names.

    Raises InvalidInput for values that cannot be compared so.
    """
    document = [callee, dict(inputs), dict(params)]
    try:
        text = json.dumps(document, sort_keys=True, default=_to_plain, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"A node with `cache` needs inputs that can be compared: {error}"
        raise InvalidInput(message) from error
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class _Entry:
    outputs: Values
    chunks: tuple[Values, ...]
    expires_at: float


class _Flight:
    """One execution that several callers wait for."""

    def __init__(self) -> None:
        self.chunks: list[Values] = []
        self.sinks: dict[object, Sink] = {}
        self.callers: set[object] = set()
        self.execution: asyncio.Task[Values] | None = None

    def add_chunk(self, data: Values) -> None:
        self.chunks.append(data)
        for sink in list(self.sinks.values()):
            sink(data)


class ResultCache:
    """Bounded by entries; the one used longest ago goes first.

    A cached stream replays as a stream.
    """

    def __init__(self, *, max_entries: int = 1024, now: Callable[[], float]) -> None:
        self._max_entries = max_entries
        self._now = now
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._flights: dict[str, _Flight] = {}

    def __len__(self) -> int:
        """Count the results that are kept."""
        return len(self._entries)

    async def get(
        self,
        key: str,
        ttl_s: float,
        execute: Callable[[Sink], Awaitable[Values]],
        sink: Sink | None,
    ) -> tuple[Values, Outcome]:
        """Give the kept result, or join the identical call in flight, or execute.

        An execution goes on while one caller is left who waits for it, and is cancelled with the
        last.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.expires_at > self._now():
            self._entries.move_to_end(key)
            for chunk in entry.chunks if sink else ():
                sink(chunk)  # type: ignore[misc]  # there are none to give without a sink
            return entry.outputs, "hit"
        flight = self._flights.get(key)
        outcome: Outcome = "shared" if flight else "miss"
        if flight is None:
            flight = self._take_off(key, ttl_s, execute)
        return await self._join(flight, sink), outcome

    def _take_off(
        self, key: str, ttl_s: float, execute: Callable[[Sink], Awaitable[Values]]
    ) -> _Flight:
        flight = self._flights[key] = _Flight()

        async def fly() -> Values:
            try:
                outputs = await execute(flight.add_chunk)
                self._keep(key, _Entry(outputs, tuple(flight.chunks), self._now() + ttl_s))
                return outputs
            finally:
                if self._flights.get(key) is flight:
                    del self._flights[key]

        flight.execution = asyncio.get_running_loop().create_task(fly())
        return flight

    async def _join(self, flight: _Flight, sink: Sink | None) -> Values:
        caller = object()
        flight.callers.add(caller)
        if sink is not None:
            for chunk in flight.chunks:
                sink(chunk)
            flight.sinks[caller] = sink
        assert flight.execution is not None
        try:
            return await asyncio.shield(flight.execution)
        finally:
            flight.sinks.pop(caller, None)
            flight.callers.discard(caller)
            if not flight.callers and not flight.execution.done():
                self._flights = {k: f for k, f in self._flights.items() if f is not flight}
                flight.execution.cancel()

    def _keep(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
