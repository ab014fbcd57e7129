"""PartQueue: parts of an answer that wait until they are sent. Knows no protocol."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Final


#: How many bytes of one answer may wait for a client that reads slowly.
_MAX_BYTES: Final = 256 << 20

#: What a part takes beside its body, in bytes, and its body once more where it was read as JSON.
_BESIDE: Final = 1024
_READ: Final = 4


class PartQueue:
    """Takes parts at once, for one reader; what was read is not kept."""

    __slots__ = ("_is_closed", "_num_bytes", "_parts", "_waiter")

    def __init__(self) -> None:
        self._parts: deque[Mapping[str, object]] = deque()
        self._num_bytes = 0
        self._is_closed = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Tell whether more waits than may."""
        return self._num_bytes > _MAX_BYTES

    def put(self, part: Mapping[str, object]) -> None:
        """Take a part; never blocks."""
        self._parts.append(part)
        self._num_bytes += _size(part)
        self._wake()

    def close(self) -> None:
        """Let the reader come to the end."""
        self._is_closed = True
        self._wake()

    async def parts(self) -> AsyncIterator[Mapping[str, object]]:
        """Give each part, in order, to the end."""
        while True:
            while self._parts:
                part = self._parts.popleft()
                self._num_bytes -= _size(part)
                yield part
            if self._is_closed:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _size(part: Mapping[str, object]) -> int:
    """Give about how many bytes a part takes."""
    inner = part.get("data", part)
    if not isinstance(inner, Mapping):
        return _BESIDE
    body = inner.get("body", inner.get("text"))
    size = len(body) if isinstance(body, bytes | bytearray | memoryview | str) else 0
    return _BESIDE + size * (1 + _READ * ("value" in inner))
