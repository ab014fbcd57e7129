"""Presence: notices that a client has left while its request is worked on. Knows no run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self, TypeVar

from torchloom_api.exchange import ClientGone, Exchange


#: Most requests are over before it is worth a task to watch for the client: seconds until then.
_WATCH_AFTER_S: Final = 0.005

_COMMENT: Final = b": still here\n\n"

T = TypeVar("T")


class Presence:
    """Watches the connection for the length of a `with` block; the body must have been read.

    When the client leaves, `on_leave` is called, once. With `keepalive_s`, a comment line of an
    event stream is written that often.
    """

    __slots__ = (
        *("_connection", "_exchange", "_keepalive_s", "_on_leave", "_task", "_timer"),
        "has_left",
    )

    def __init__(
        self,
        exchange: Exchange,
        on_leave: Callable[[], object],
        *,
        keepalive_s: float | None = None,
    ) -> None:
        self.has_left = False
        self._exchange = exchange
        self._on_leave = on_leave
        self._keepalive_s = keepalive_s
        self._connection = None if keepalive_s else exchange.connection
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Begin to watch: what the connection tells, or else what comes by it."""
        if self._connection is not None:
            self._connection.watch(self._leave)
            return self
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self._start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Watch no more."""
        if self._connection is not None:
            self._connection.unwatch(self._leave)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while not self.has_left:
            try:
                async with asyncio.timeout(self._keepalive_s):
                    await self._exchange.closed()
            except TimeoutError:
                # An answer whose status is not sent yet may still become another than a stream.
                if self._exchange.has_begun:
                    await self._exchange.write(_COMMENT)
            else:
                self._leave()

    def _leave(self) -> None:
        self.has_left = True
        self._on_leave()


async def while_present(
    exchange: Exchange, work: Awaitable[T], *, keepalive_s: float | None = None
) -> T:
    """Await some work, which is cancelled when the client leaves: that raises ClientGone."""
    task = asyncio.current_task()
    assert task is not None
    with Presence(exchange, task.cancel, keepalive_s=keepalive_s) as presence:
        try:
            return await work
        except asyncio.CancelledError:
            # Where both happen at once, whoever else cancels the task still gets its way.
            if not presence.has_left or task.uncancel() > 0:
                raise
            raise ClientGone from None
