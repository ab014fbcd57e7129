"""Connections that are closed while their clients still send, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from api_fakes.turns import turns

from torchloom_api import lingering
from torchloom_api.lingering import LingeringTransport


#: More than the buffers between two sockets hold.
_LARGE = 20_000_000


class Answering(asyncio.Protocol):
    """Answers the first bytes that come, says something after its end, and is told the end."""

    def __init__(self, made: list[Answering], *, expects_more: bool) -> None:
        made.append(self)
        self._expects_more = expects_more
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = LingeringTransport(transport)  # type: ignore[arg-type]  # it is one

    def expects_more(self) -> bool:
        """Tell whether its client may send more."""
        return self._expects_more

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is
        """Answer, and close."""
        self.transport.write(b"no.")
        self.transport.close()
        self.transport.close()  # as servers do that clear up
        assert self.transport.is_closing()
        if self._expects_more:
            self.transport.write(b"more")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever it was
        """Note it."""
        self.is_lost = True


@asynccontextmanager
async def answering(*, expects_more: bool = True) -> AsyncIterator[tuple[int, list[Answering]]]:
    """Serve on a free port; give that, and what has been made of each connection."""
    made: list[Answering] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Answering(made, expects_more=expects_more), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1], made


def _send_and_read(port: int) -> bytes:
    """Send all, then read to the end, as most clients do. Raises ConnectionError."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        line.sendall(bytes(_LARGE))
        return b"".join(iter(lambda: line.recv(1024), b""))


async def test_takes_what_a_client_still_sends() -> None:
    """None of it is refused: the client reads the answer, and where that ends."""
    async with answering() as (port, made):
        assert await asyncio.to_thread(_send_and_read, port) == b"no."
        await turns(lambda: made[0].is_lost)


async def test_closes_at_once_where_no_more_is_to_come() -> None:
    """Whoever sends all the same is reset, as by any server."""
    async with answering(expects_more=False) as (port, _):
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(_send_and_read, port)


async def test_waits_for_no_client_that_says_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that neither sends nor closes is closed."""
    monkeypatch.setattr(lingering, "_PAUSE_S", 0.02)
    async with answering() as (port, made):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")

        assert await reader.read() == b"no."
        await turns(lambda: made[0].is_lost)
        writer.close()


@pytest.mark.parametrize("bound", ["_MOST_S", "_MAX_BYTES"])
async def test_bears_no_client_without_end(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Not for longer, and not for more bytes, than anybody sends by mistake."""
    monkeypatch.setattr(lingering, "_PAUSE_S", 0.02)
    monkeypatch.setattr(lingering, bound, 0)
    async with answering() as (port, made):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionError):
            while not (made and made[0].is_lost):
                writer.write(bytes(1 << 16))
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()


async def test_closes_at_once_where_it_must() -> None:
    """A server that ends does not wait for what it drops."""
    async with answering() as (port, made):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")
        await turns(lambda: made and made[0].transport.is_closing())
        made[0].transport.close_now()
        await turns(lambda: made[0].is_lost)
        writer.close()
