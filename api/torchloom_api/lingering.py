"""LingeringTransport: closes a connection whose client still sends so that it reads its answer.

A socket that is closed with unread input resets its connection: the client's sending fails, and its
system may drop an answer that nobody has read yet. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast


#: What still comes is dropped until it has paused for so long, or for so long in all, in seconds,
#: or until it was so much: more than a client sends by mistake.
_PAUSE_S: Final = 5.0
#: Where our half cannot be closed, whoever reads to the end of the connection waits for that, too.
_SHORT_PAUSE_S: Final = 1.0
_MOST_S: Final = 30.0
_MAX_BYTES: Final = 256 << 20


class Expecting(Protocol):
    """The protocol of a connection, which knows whether more is to come."""

    def expects_more(self) -> bool:
        """Tell whether the client may still send, and is to read an answer first."""
        ...


class LingeringTransport:
    """A transport that closes in two steps where more is to come (RFC 9112, section 9.6).

    First our half, so that the client knows where the answer ends; the rest when the client has
    closed its own, or has had time enough. As much of a transport as uvicorn uses.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._is_lingering = False
        self.write: Callable[[bytes], None] = transport.write
        self.abort = transport.abort

    def is_closing(self) -> bool:
        """Tell whether it is closed, or about to be."""
        return self._is_lingering or self._transport.is_closing()

    def close(self) -> None:
        """Close it when all is sent, and what is still to come has come."""
        if not self.is_closing():
            # It is asked for, not held: two that hold each other are garbage to be looked for.
            protocol = self._transport.get_protocol()
            if cast("Expecting", protocol).expects_more():
                self._linger(cast("asyncio.Protocol", protocol))
            else:
                self._transport.close()

    def close_now(self) -> None:
        """Close it when all is sent."""
        self._transport.close()

    def _linger(self, protocol: asyncio.Protocol) -> None:
        self._is_lingering = True
        self.write = _drop
        pause_s = _SHORT_PAUSE_S
        if self._transport.can_write_eof():  # TLS cannot
            self._transport.write_eof()
            pause_s = _PAUSE_S
        self._transport.set_protocol(_Draining(self._transport, protocol, pause_s))
        self._transport.resume_reading()


def _drop(_: bytes) -> None:
    """Send nothing any more."""


class _Draining(asyncio.Protocol):
    """Drops what comes, and closes at a bound. Of the rest, the protocol before it hears."""

    def __init__(
        self, transport: asyncio.Transport, before: asyncio.Protocol, pause_s: float
    ) -> None:
        self._pause_s = pause_s
        self._transport = transport
        self._before = before
        self._loop = asyncio.get_running_loop()
        self._end_s = self._loop.time() + _MOST_S
        self._num_bytes = 0
        self._num_looked = 0
        self._timer = self._loop.call_later(self._pause_s, self._look)

    def data_received(self, data: bytes) -> None:
        self._num_bytes += len(data)
        if self._num_bytes > _MAX_BYTES:
            self._transport.close()

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._before.connection_lost(exc)

    def _look(self) -> None:
        """Close where nothing has come since the last look, or all time is over."""
        if self._num_bytes == self._num_looked or self._loop.time() > self._end_s:
            self._transport.close()
            return
        self._num_looked = self._num_bytes
        self._timer = self._loop.call_later(self._pause_s, self._look)
