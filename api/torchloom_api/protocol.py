"""GuardedProtocol: uvicorn's HTTP/1.1, with limits on clients that are slow. Knows no route.

An answer's head and the first of its body are sent together. A Connection in each request's scope
tells that its client has left.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from torchloom_api.body_parser import (
    begins_bare_head,
    body_parser,
    has_body,
    is_bare_head,
    new_parser,
)
from torchloom_api.connection import CONNECTION_KEY, Connection
from torchloom_api.lingering import LingeringTransport


#: As much as may come of a head, or of trailers, before it is whole. A body does not count.
_MAX_IDLE_BYTES: Final = 256 << 10

#: What begins an answer after which the real one is yet to come.
_INTERIM: Final = b"HTTP/1.1 1"


class JoiningTransport:
    """A transport that sends an answer's head with the first of its body: as much as uvicorn uses.

    Each would be a packet of its own, and wake the client. A head that is followed by nothing in
    the same turn of the event loop goes alone.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._has_begun = False
        #: Whether the client was given leave to send its body (`100 Continue`).
        self.has_given_leave = False

    def write(self, data: bytes) -> None:
        """Send."""
        if not self._has_begun and data.startswith(_INTERIM):
            self.has_given_leave = True
        elif not self._has_begun:
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


class GuardedProtocol(HttpToolsProtocol):
    """Cuts a connection whose request does not come, or whose client does not take its answer.

    Buffers stay bounded all the while: uvicorn stops its application at the high-water mark, and a
    head or trailers without end are refused. Requests that came before something that is none are
    answered first. No protocol is upgraded to.
    """

    #: Seconds for the head of a request, and seconds in which a client must take a full buffer, or
    #: send the rest of a body that has been answered already.
    max_header_s: ClassVar[float] = 10.0
    max_stall_s: ClassVar[float] = 60.0

    _is_in_head: bool = True
    _is_in_message: bool = False
    #: How many bytes have come since the last that were of any use.
    _num_idle_bytes: int = 0
    #: What has come of a head whose lines end without a return.
    _bare: bytes = b""
    #: What came was no HTTP: nothing is read any more.
    _is_garbled: bool = False
    #: The server ends: this connection does after its answer.
    _is_ending: bool = False
    #: The request that is being answered, or was answered last.
    _answered: RequestResponseCycle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._lingering = LingeringTransport(transport)
        self.transport = self._lingering  # type: ignore[assignment]  # as much as is used
        self._connection = Connection(self.flow.resume_reading)
        self._start_read_timer(self.max_header_s)

    def expects_more(self) -> bool:
        """Tell whether the client may still send what was answered already, and all of it was."""
        if self._is_ending:
            return False
        is_cut = self.cycle is not None and self.cycle.response_started and self._is_answering
        return not is_cut and (self._is_garbled or (self._is_in_message and not self._is_in_head))

    def shutdown(self) -> None:
        """End after what is being answered; the server waits for nothing that is dropped."""
        self._is_ending = True
        super().shutdown()
        if self._lingering.is_closing():
            self._lingering.close_now()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more. Of several requests, uvicorn tells the last alone."""
        self._stop_read_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)
        cycle = self._answered
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self._connection.lose()

    def data_received(self, data: bytes) -> None:
        """Take in what came. A head that came whole, as nearly all do, costs no timer."""
        self._unset_keepalive_if_required()
        if self._is_garbled:
            return
        self._num_idle_bytes += len(data)
        try:
            self._take_in(data)
        except httptools.HttpParserError:
            self._refuse("Invalid HTTP request received.")
            return
        if self._num_idle_bytes > _MAX_IDLE_BYTES:
            self._refuse("The head of the request is too large.")
        elif self._is_in_head and self._read_timer is None and not self._is_answering:
            self._start_read_timer(self.max_header_s)

    def _take_in(self, data: bytes) -> None:
        """Parse; a head that the parser refuses for its bare lines is kept until it is whole."""
        begins = not self._is_in_message or bool(self._bare)
        data, self._bare = self._bare + data, b""
        try:
            self._parse(data)
        except httptools.HttpParserError:
            if not (begins and begins_bare_head(data)):
                raise
            self.parser = new_parser(self)
            if is_bare_head(data):
                self._parse(data.replace(b"\n", b"\r\n"))
            else:
                self._bare = data

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                self._decline_upgrade()
            else:
                return

    def _decline_upgrade(self) -> None:
        """Go on in HTTP/1.1: what the parser takes for another protocol is a body, or a request."""
        headers = self.scope["headers"]
        if has_body(headers):
            self._is_in_message = self.cycle.more_body = True
            self.cycle.message_event.clear()
            self.parser = body_parser(self, headers)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._is_in_head = self._is_in_message = True
        super().on_message_begin()
        self.scope[CONNECTION_KEY] = self._connection  # type: ignore[typeddict-unknown-key]  # ASGI allows it

    def on_headers_complete(self) -> None:
        """Note that the head is there. One whose URL is none raises, and is not."""
        super().on_headers_complete()
        self._is_in_head = False
        self._num_idle_bytes = 0
        if self._read_timer is not None:
            self._stop_read_timer()
        self.headers = []  # trailers, if any come: they are no headers of the request
        # The answer's task has not begun yet.
        if self.cycle is not None and self.cycle.scope is self.scope:
            self.cycle.transport = self._stand_between()  # type: ignore[assignment]  # as much as is used

    def on_body(self, body: bytes) -> None:
        """Note that a part of the body is there."""
        self._num_idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is there."""
        self._is_in_message = False
        self._num_idle_bytes = 0
        if self._read_timer is not None:
            self._stop_read_timer()
        super().on_message_complete()

    def _stand_between(self) -> JoiningTransport:
        """Give what writes an answer."""
        return JoiningTransport(self.transport)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with what has come meanwhile: another request, a part of one, or what is none."""
        super().on_response_complete()
        if self._is_answering or self.transport.is_closing():
            return
        if self._is_garbled:
            self.loop.call_soon(self._close_garbled)  # the last of the answer may still wait
        elif not self._is_in_message:
            return
        elif not self._is_in_head and self._waits_for_leave:
            # Whether a body follows, or another request, only its client knows.
            self.loop.call_soon(self.transport.close)
        elif self._read_timer is None:
            self._start_read_timer(self.max_header_s if self._is_in_head else self.max_stall_s)

    @property
    def _waits_for_leave(self) -> bool:
        """Tell whether the last request's client asked for leave to send its body, and got none."""
        answer: object = None if self._answered is None else self._answered.transport
        is_given = isinstance(answer, JoiningTransport) and answer.has_given_leave
        return self.expect_100_continue and not is_given

    def _refuse(self, message: str) -> None:
        """Answer what is no request, once those are answered that came whole before it."""
        self.logger.warning(message)
        self._is_garbled = True
        self._refusal = message
        if self._is_in_message and not self._is_in_head:
            self._give_up_last()
        elif not self._is_answering:
            self._close_garbled()

    def _give_up_last(self) -> None:
        """Answer no request whose body is broken, unless that has begun."""
        if self.cycle is not self._answered:
            assert self._answered is not None, "it waits behind that one"
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._answered
        elif not self.cycle.response_started:
            self._close_garbled()
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            self.transport.close()

    def _close_garbled(self) -> None:
        if not self.transport.is_closing():
            self.send_400_response(self._refusal)

    def pause_writing(self) -> None:
        """Begin to wait for a client that reads more slowly than we write."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.max_stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        self._stop_stall_timer()
        super().resume_writing()

    def _start_read_timer(self, limit_s: float) -> None:
        self._read_timer = self.loop.call_later(limit_s, self.transport.abort)

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def guard(*, max_header_s: float, max_stall_s: float) -> type[GuardedProtocol]:
    """Make a protocol with these limits; uvicorn wants a class."""
    limits = {"max_header_s": max_header_s, "max_stall_s": max_stall_s}
    return type("GuardedProtocol", (GuardedProtocol,), limits)
