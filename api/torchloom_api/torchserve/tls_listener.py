"""TlsListener: a listener that speaks TLS, and tells who speaks plain HTTP to it that it does.

Looks at the first byte of a connection, without taking it: TLS begins by a record of its own kind.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, cast

import uvicorn
from litestar.types import HTTPScope, Receive, Scope, Send

from torchloom_api.exchange import Exchange
from torchloom_api.server import Listener
from torchloom_api.torchserve.answer import status_answer
from torchloom_api.torchserve.frontend_error import Header
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request_id import new_uuid


_log = logging.getLogger(__name__)

#: The first byte of a TLS connection: a record of the kind "handshake".
_HANDSHAKE: Final = b"\x16"

#: How long a client may take for its first byte, and then for the handshake.
_HELLO_S: Final = 10.0

#: After a connection could not be taken (this process has too many open), the next is tried.
_PAUSE_S: Final = 0.5

_FORBIDDEN: Final = 403

_OnConnection = Callable[[socket.socket], Coroutine[object, object, None]]


class HttpsOnly:
    """The application of connections without TLS. `extra`: headers that the operator adds."""

    def __init__(self, extra: Sequence[Header]) -> None:
        self._extra = extra

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, in TorchServe's words."""
        exchange = Exchange(cast("HTTPScope", scope), receive, send)
        exchange.id = new_uuid()
        answer = status_answer("This TorchServe instance only accepts HTTPS requests", _FORBIDDEN)
        await Reply(exchange, self._extra, closes=True).send(answer)


class TlsListener(Listener):
    """A listener behind TLS. `plain` configures what answers those who do not speak it."""

    def __init__(
        self, config: uvicorn.Config, plain: uvicorn.Config, context: ssl.SSLContext
    ) -> None:
        super().__init__(config)
        self._plain = plain
        self._context = context

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections, which uvicorn has no part in."""
        self._plain.load()
        await super().startup(sockets=[])
        for each in sockets or ():
            self.servers.append(cast("asyncio.Server", _Server(each, self._open)))

    async def _open(self, connection: socket.socket) -> None:
        """Hand a connection to what speaks its language."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_HELLO_S):
                first = await _peek(connection)
            if first == _HANDSHAKE:
                await loop.connect_accepted_socket(
                    self._protocol_of(self.config),
                    connection,
                    ssl=self._context,
                    ssl_handshake_timeout=_HELLO_S,
                )
            elif first:
                await loop.connect_accepted_socket(self._protocol_of(self._plain), connection)
            else:
                connection.close()
        except (OSError, TimeoutError) as error:
            _log.debug("a connection came to nothing: %s", error)
            connection.close()

    def _protocol_of(self, config: uvicorn.Config) -> Callable[[], asyncio.Protocol]:
        make = cast("Callable[..., asyncio.Protocol]", config.http_protocol_class)
        return lambda: make(
            config=config, server_state=self.server_state, app_state=self.lifespan.state
        )


class _Server:
    """Takes connections of one socket: as much of asyncio's server as uvicorn uses."""

    def __init__(self, listener: socket.socket, on_connection: _OnConnection) -> None:
        listener.setblocking(False)
        listener.listen()
        self._listener = listener
        self._on_connection = on_connection
        self._opening: set[asyncio.Task[None]] = set()
        self._taking = asyncio.get_running_loop().create_task(self._take())

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                _log.error("no connection can be taken: %s", error)
                await asyncio.sleep(_PAUSE_S)
                continue
            opening = loop.create_task(self._on_connection(connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    def close(self) -> None:
        """Take no more."""
        for task in (self._taking, *self._opening):
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until none is taken any more."""
        await asyncio.gather(self._taking, *self._opening, return_exceptions=True)


async def _peek(connection: socket.socket) -> bytes:
    """Wait for the first byte, and leave it there; empty where the client has left."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(connection, arrived.set)
    try:
        await arrived.wait()
    finally:
        loop.remove_reader(connection)
    return connection.recv(1, socket.MSG_PEEK)
