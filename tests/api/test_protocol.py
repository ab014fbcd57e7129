"""Limits on slow clients, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from api_fakes.turns import turns

from torchloom_api.protocol import JoiningTransport, guard
from torchloom_api.server import Listener


async def answer(scope: dict[str, object], receive: object, send: object) -> None:
    """Give a small answer, one that no buffer holds, or what was sent."""
    chunk = b"x" * 65_536 if scope["path"] == "/large" else b"small"
    if scope["path"] == "/echo":
        chunk = await _read_body(receive)
    count = 4096 if scope["path"] == "/large" else 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(count):
        more = number < count - 1
        await send({"type": "http.response.body", "body": chunk, "more_body": more})


@asynccontextmanager
async def listening(**limits: float) -> AsyncIterator[tuple[int, Listener]]:
    """Serve on a free port with some limits; give the port and the listener."""
    protocol = guard(**{"max_header_s": 60.0, "max_stall_s": 60.0, **limits})
    config = uvicorn.Config(answer, http=protocol, lifespan="off", ws="none", log_config=None)
    listener = Listener(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        task = asyncio.create_task(listener.serve([bound]))
        yield bound.getsockname()[1], listener
        listener.should_exit = True
        await task


async def test_cuts_a_connection_whose_head_does_not_come() -> None:
    """A client that sends half of a head and waits is cut off."""
    async with listening(max_header_s=0.05) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: ")

        assert await _read_to_the_end(reader) == b""
        writer.close()


async def test_cuts_a_connection_that_says_nothing() -> None:
    """A client that connects and is silent is cut off."""
    async with listening(max_header_s=0.05) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        assert await _read_to_the_end(reader) == b""
        writer.close()


async def test_cuts_a_second_head_that_does_not_come() -> None:
    """The limit holds for each request of a connection."""
    async with listening(max_header_s=0.05) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"small")
        writer.write(b"GET / HTTP/1.1\r\n")
        await writer.drain()

        assert b"HTTP/1.1" not in await _read_to_the_end(reader)
        writer.close()


async def test_keeps_an_idle_connection_between_requests() -> None:
    """A connection that has been used is not cut for having no request under way."""
    async with listening() as (port, listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await reader.readuntil(b"small")
            await reader.readuntil(b"0\r\n\r\n")
            (connection,) = listener.server_state.connections

            assert connection._head_timer is None
        writer.close()


async def test_cuts_a_client_that_does_not_take_its_answer() -> None:
    """A client that reads nothing is cut off, and what it left unread is dropped."""
    async with listening(max_stall_s=0.05) as (port, listener):
        stalled = socket.create_connection(("127.0.0.1", port))
        stalled.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        reader, writer = await asyncio.open_connection(sock=stalled)
        writer.transport.pause_reading()
        await turns(lambda: listener.server_state.connections)
        await turns(lambda: not listener.server_state.connections)
        writer.transport.resume_reading()

        assert len(await _read_to_the_end(reader)) < 4096 * 65_536
        writer.close()


async def test_serves_a_client_that_reads() -> None:
    """A large answer reaches a client that keeps reading, whole."""
    async with listening(max_stall_s=5.0) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")

        assert (await _read_to_the_end(reader)).count(b"x") >= 4096 * 65_536
        writer.close()


@pytest.mark.parametrize("cut", [1, 7, 10_000])
@pytest.mark.parametrize(
    "sent",
    [
        (b"content-length: 5\r\n\r\nalpha", b"alpha"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nalpha\r\n0\r\n\r\n", b"alpha"),
        (b"content-length: 0\r\n\r\n", b""),
        (b"\r\n", b""),
    ],
)
async def test_takes_the_body_of_a_client_that_offers_http2(
    sent: tuple[bytes, bytes], cut: int
) -> None:
    """Java's clients do, and so does `curl --http2`; more requests follow on the connection."""
    rest, body = sent
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    one = b"POST /echo HTTP/1.1\r\nhost: x\r\n" + offer + rest
    last = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    data = one * 3 + last
    async with listening() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for start in range(0, len(data), cut):
            writer.write(data[start : start + cut])
            await writer.drain()
        answers = await _read_to_the_end(reader)
        writer.close()

    assert answers.count(b"HTTP/1.1 200 OK") == 4
    assert answers.count(body) >= 3
    assert answers.endswith(b"small\r\n0\r\n\r\n")


async def test_takes_many_offers_at_once() -> None:
    """However many requests are sent at once that ask for another protocol."""
    one = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"
    async with listening() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(one * 800 + last)

        assert (await _read_to_the_end(reader)).count(b"HTTP/1.1 200 OK") == 801
        writer.close()


async def _read_body(receive: object) -> bytes:
    assert callable(receive)
    parts = []
    while True:
        message = await receive()
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)


async def _read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """Read until the connection is closed or cut."""
    parts = []
    try:
        while part := await reader.read(1 << 20):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


class _Writes:
    """A transport that notes what is written to it at once."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        """Note it."""
        self.written.append(data)

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


async def test_sends_a_head_with_the_first_of_its_body() -> None:
    """One packet for a small answer; what comes later is sent as it comes."""
    inner = _Writes()
    transport = JoiningTransport(inner)  # type: ignore[arg-type]  # as much as is used
    for data in (b"head ", b"body", b" more"):
        transport.write(data)
    assert inner.written == [b"head body", b" more"]
    await asyncio.sleep(0)
    assert inner.written == [b"head body", b" more"]


async def test_sends_a_head_alone_where_nothing_follows() -> None:
    """Of a stream whose first part is yet to come, or an answer to HEAD; and before it closes."""
    inner, closed = _Writes(), _Writes()
    JoiningTransport(inner).write(b"head")  # type: ignore[arg-type]  # as much as is used
    assert inner.written == []
    await turns(lambda: inner.written)
    assert inner.written == [b"head"]

    transport = JoiningTransport(closed)  # type: ignore[arg-type]  # as much as is used
    transport.write(b"head")
    transport.close()
    assert (closed.written, closed.is_closed) == ([b"head"], True)
