"""GuardedProtocol: uvicorn's HTTP/1.1, with limits on clients that are slow. Knows no route.

An answer's head and the first of its body are sent together. A Connection in each request's scope
tells that its client has left.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from torchloom_api.connection import CONNECTION_KEY, Connection


class JoiningTransport:
    """A transport that sends an answer's head with the first of its body: as much as uvicorn uses.

    Each would be a packet of its own, and wake the client. A head that is followed by nothing in
    the same turn of the event loop goes alone.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._has_begun = False

    def write(self, data: bytes) -> None:
        """Send."""
        if not self._has_begun:
            self._has_begun = True
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
            return
        if self._head is not None:
            data, self._head = self._head + data, None
        self._transport.write(data)

    def _flush(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)

    def close(self) -> None:
        """Close it when all is sent."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether it is closed, or about to be."""
        return self._transport.is_closing()


class _Rest:
    """Hears what comes behind a head that was heard already: of that, only that it is all."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol
        self.is_in_head = True

    def __getattr__(self, name: str) -> Callable[..., None]:
        hear: Callable[..., None] = getattr(self._protocol, name)

        def tell(*heard: object) -> None:
            if not self.is_in_head or name == "on_message_complete":
                hear(*heard)

        return tell


class GuardedProtocol(HttpToolsProtocol):
    """Cuts a connection whose head does not come, or whose client does not take its answer.

    Buffers stay bounded all the while: uvicorn stops its application at the high-water mark.
    """

    #: Seconds for the head of a request, and seconds in which a client must take a full buffer.
    max_header_s: ClassVar[float] = 10.0
    max_stall_s: ClassVar[float] = 60.0

    _is_in_head: bool = True
    _received: bytes = b""
    _behind: bytes = b""
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._connection = Connection(self.flow.resume_reading)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_head_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)
        self._connection.lose()

    def data_received(self, data: bytes) -> None:
        """Take in what came. A head that came whole, as nearly all do, costs no timer."""
        while data:
            self._received, self._behind = data, b""
            super().data_received(data)
            data = self._behind
        if self._is_in_head and self._head_timer is None:
            self._start_head_timer()

    def on_message_complete(self) -> None:
        """Note that all is there: of one that asks for another protocol, only the head is yet."""
        if not self._is_upgrade():
            super().on_message_complete()

    def _is_upgrade(self) -> bool:
        return bool(self.parser.should_upgrade()) and not self._should_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """Go on in HTTP/1.1, as servers do that do not speak what a client would rather speak.

        Clients offer HTTP/2 by this (Java's do unless told otherwise), and send their body all
        the same, at which the parser has stopped: another goes on, at a head of the same length.
        """
        error = sys.exception()
        assert isinstance(error, httptools.HttpParserUpgrade), "uvicorn calls it for no other"
        framing = (b"content-length", b"transfer-encoding")
        lines = [name + b": " + value for name, value in self.headers if name in framing]
        rest = _Rest(self)
        self.parser = httptools.HttpRequestParser(rest)
        self.parser.feed_data(b"\r\n".join([b"POST / HTTP/1.1", *lines, b"", b""]))
        rest.is_in_head = False
        self._behind = self._received[error.args[0] :]

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._is_in_head = True
        super().on_message_begin()
        self.scope[CONNECTION_KEY] = self._connection  # type: ignore[typeddict-unknown-key]  # ASGI allows it

    def on_headers_complete(self) -> None:
        """Note that the head is there."""
        self._is_in_head = False
        if self._head_timer is not None:
            self._stop_head_timer()
        super().on_headers_complete()
        # The answer's task has not begun yet.
        if self.cycle is not None and self.cycle.scope is self.scope:
            between = self._stand_between(self.cycle.transport)
            self.cycle.transport = between  # type: ignore[assignment]  # as much as is used

    def _stand_between(self, transport: asyncio.Transport) -> JoiningTransport:
        """Give what writes an answer."""
        return JoiningTransport(transport)

    def pause_writing(self) -> None:
        """Begin to wait for a client that reads more slowly than we write."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.max_stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        self._stop_stall_timer()
        super().resume_writing()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.max_header_s, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def guard(*, max_header_s: float, max_stall_s: float) -> type[GuardedProtocol]:
    """Make a protocol with these limits; uvicorn wants a class."""
    limits = {"max_header_s": max_header_s, "max_stall_s": max_stall_s}
    return type("GuardedProtocol", (GuardedProtocol,), limits)
