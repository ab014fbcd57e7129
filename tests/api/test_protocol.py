"""Limits on slow clients, over real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from api_fakes.turns import turns

from torchloom_api import lingering
from torchloom_api.protocol import JoiningTransport, guard
from torchloom_api.server import Listener


Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: `/wait` takes this long, in seconds: longer than the limits of those who count on it.
_WAIT_S = 0.1

#: The paths whose clients have left.
left: list[str] = []


async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
    """Give a small answer, or one that no buffer holds."""
    chunk = b"x" * 65_536 if scope["path"] == "/large" else b"small"
    count = 4096 if scope["path"] == "/large" else 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(count):
        more = number < count - 1
        await send({"type": "http.response.body", "body": chunk, "more_body": more})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Read a request to its end and give it back; or first wait, or read nothing of it."""
    body = b""
    if scope["path"] == "/wait":
        await asyncio.sleep(_WAIT_S)
    is_complete = scope["path"] == "/unread"
    while not is_complete:
        message = await receive()
        if message["type"] == "http.disconnect":
            left.append(scope["path"])
            return
        body += message["body"]
        is_complete = not message["more_body"]
    names = b",".join(name for name, _ in scope["headers"])
    text = b"<%s %s %s>" % (scope["path"].encode(), names, body)
    start = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": start})
    if scope["path"] == "/leave" and (await receive())["type"] == "http.disconnect":
        left.append(scope["path"])
    await send({"type": "http.response.body", "body": text, "more_body": False})


@asynccontextmanager
async def listening(app: App = answer, **limits: float) -> AsyncIterator[tuple[int, Listener]]:
    """Serve on a free port with some limits; give the port and the listener."""
    protocol = guard(**{"max_header_s": 60.0, "max_stall_s": 60.0, **limits})
    config = uvicorn.Config(app, http=protocol, lifespan="off", ws="none", log_config=None)
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

            assert connection._read_timer is None
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


def post(path: str, body: bytes = b"", *lines: str) -> bytes:
    """Write a request."""
    head = [f"POST {path} HTTP/1.1", f"content-length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


async def exchange(port: int, data: bytes, *more: bytes) -> bytes:
    """Send bytes at once, and more after each answer; give all answers to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answers = b""
    for each in more:
        answers += await reader.readuntil(b">")
        writer.write(each)
    answers += await _read_to_the_end(reader)
    writer.close()
    return answers


def told(answers: bytes) -> list[bytes]:
    """Give status and body of each answer, in order."""
    return [
        status + body
        for status, body in re.findall(rb"HTTP/1.1 (\d+).*?(?:<(\S+)|\Z)", answers, re.DOTALL)
    ]


@pytest.mark.parametrize(
    "garbage",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"POST /broken HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnone\r\n",
    ],
)
async def test_answers_what_came_before_garbage(garbage: bytes) -> None:
    """Requests that came whole have their answers, in their order; then the garbage has its own."""
    async with listening(echo) as (port, _):
        behind_one = await exchange(port, post("/wait") + garbage)
        behind_two = await exchange(port, post("/wait") + post("/second") + garbage)

    assert told(behind_one) == [b"200/wait", b"400"]
    assert told(behind_two) == [b"200/wait", b"200/second", b"400"]


async def test_takes_a_head_whose_lines_come_one_by_one() -> None:
    """Without returns, as a shell writes them; the next request is as any other."""
    async with listening(echo) as (port, listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await turns(lambda: listener.server_state.connections)
        (protocol,) = listener.server_state.connections
        for line in (b"GET /one HTTP/1.1\n", b"host: x\n"):
            writer.write(line)
            await turns(lambda last=line: vars(protocol).get("_bare", b"").endswith(last))
        writer.write(b"\n")
        answers = await reader.readuntil(b">")
        writer.write(post("/two", b"hi"))
        answers += await reader.readuntil(b">")
        writer.close()

    assert told(answers) == [b"200/one", b"200/two"]


async def test_cuts_a_head_of_bare_lines_that_does_not_end() -> None:
    """As any other head."""
    async with listening(max_header_s=0.05) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\nhost: x\n")
        assert await _read_to_the_end(reader) == b""
        writer.close()


async def test_answers_garbage_once() -> None:
    """A request whose body is broken is no request; one that is answered has its answer."""
    broken = b" HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnone\r\n"
    async with listening(echo) as (port, _):
        read = await exchange(port, b"POST /read" + broken)
        unread = b"POST /unread HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        answered = await exchange(port, unread, b"none\r\n")

    assert told(read) == [b"400"]
    assert told(answered) == [b"200/unread"]


async def test_cuts_no_request_for_a_slow_one_before_it() -> None:
    """Half of a head waits behind a request that is answered: its time begins after that."""
    async with listening(echo, max_header_s=_WAIT_S / 4) as (port, _):
        answers = await exchange(port, post("/wait") + b"POST /half HTTP/1.1\r\n")

    assert told(answers) == [b"200/wait"]


async def test_cuts_a_client_that_does_not_end_a_body_that_is_answered() -> None:
    """Nobody reads it any more, so that nobody else would notice."""
    request = b"POST /unread HTTP/1.1\r\ncontent-length: 1000\r\n\r\n"
    async with listening(echo, max_stall_s=0.05) as (port, _):
        answers = await exchange(port, request, b"a")

    assert told(answers) == [b"200/unread"]


async def test_closes_after_an_answer_to_a_client_that_waits_for_leave() -> None:
    """It may send its body all the same, or another request: nobody could tell which it is."""
    lines = ("content-length: 4", "expect: 100-continue")
    request = "\r\n".join(["POST /unread HTTP/1.1", *lines, "", ""]).encode()
    async with listening(echo) as (port, _):
        answers = await exchange(port, request, post("/next"))

    assert told(answers) == [b"200/unread"]


@pytest.mark.parametrize("lines", [(), ("expect: 100-continue",)])
async def test_resets_no_client_that_sends_a_body_after_its_answer(lines: tuple[str, ...]) -> None:
    """Where the connection ends with that: the client sends all, and then reads the answer."""
    request = post("/unread", bytes(20_000_000), "connection: close", *lines)

    def send(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
            line.sendall(request)
            return b"".join(iter(lambda: line.recv(1024), b""))

    async with listening(echo) as (port, _):
        assert told(await asyncio.to_thread(send, port)) == [b"200/unread"]


async def test_ends_without_what_still_comes() -> None:
    """A server that is told to end drops a body that is answered."""
    request = b"POST /unread HTTP/1.1\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n"
    async with listening(echo) as (port, listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answers = await reader.readuntil(b">")
        (connection,) = listener.server_state.connections
        connection.shutdown()
        await turns(lambda: not listener.server_state.connections)
        writer.close()

    assert told(answers) == [b"200/unread"]


async def test_ends_without_what_is_still_to_come_after_its_answer() -> None:
    """Nor does it wait for the body of a request that it answers while it ends."""
    request = b"POST /unread HTTP/1.1\r\ncontent-length: 1000\r\n\r\n"
    leave = asyncio.Event()

    async def answer_late(scope: Scope, receive: Receive, send: Send) -> None:
        await leave.wait()
        await echo(scope, receive, send)

    async with listening(answer_late) as (port, listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await turns(lambda: listener.server_state.tasks)
        (connection,) = listener.server_state.connections
        connection.shutdown()
        leave.set()
        answers = await reader.readuntil(b">")
        await turns(lambda: not listener.server_state.connections)
        writer.close()

    assert told(answers) == [b"200/unread"]


async def test_reads_on_after_a_body_that_was_answered_before_it_came() -> None:
    """What follows it is the next request."""
    request = b"POST /unread HTTP/1.1\r\ncontent-length: 4\r\n\r\nab"
    async with listening(echo) as (port, _):
        answers = await exchange(port, request, b"cd" + post("/next", b"", "connection: close"))

    assert told(answers) == [b"200/unread", b"200/next"]


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET / HTTP/1.1\r\n", b"some-header: some value\r\n"),
        (b"GET / HTTP/1.1\r\nsome-header: ", b"a value without an end "),
        (b"GET /", b"a-path-without-an-end-"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"trailer: value\r\n"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;", b"extension-"),
    ],
)
async def test_refuses_what_has_no_end(
    start: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads and trailers are held in memory: they have a limit, whatever time they take."""
    monkeypatch.setattr(lingering, "_MAX_BYTES", 1 << 20)  # until then, what comes is dropped
    async with listening(echo) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        reading = asyncio.create_task(_read_to_the_end(reader))
        for _ in range(100):
            writer.write(piece * 2000)
            await asyncio.wait([reading], timeout=0)
            try:
                await writer.drain()
            except ConnectionError:
                break
        else:
            pytest.fail("it took all that came")
        assert b"200" not in await reading


async def test_takes_a_large_head() -> None:
    """As large as others would take, in pieces."""
    head = b"POST /large HTTP/1.1\r\n" + b"a: %s\r\n" % (b"x" * 200_000)
    async with listening(echo) as (port, _):
        answers = await exchange(port, head + b"connection: close\r\ncontent-length: 0\r\n\r\n")

    assert told(answers) == [b"200/large"]


async def test_takes_no_trailer_for_a_header() -> None:
    """What comes after the body is not what the head has said."""
    request = (
        b"POST /it HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        b"3;extension=1\r\nabc\r\n0\r\nauthorization: Bearer x\r\n\r\n"
    )
    async with listening(echo) as (port, _):
        answers = await exchange(port, request)

    assert answers.endswith(b"</it transfer-encoding,connection abc>")


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
@pytest.mark.parametrize("in_pieces", [False, True])
async def test_reads_the_body_of_a_request_that_asks_for_another_protocol(
    framing: str, *, in_pieces: bool
) -> None:
    """Java's client asks for HTTP/2 with its first request, whose body is HTTP/1.1 all the same."""
    lines = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABk")
    request = post("/java", b"GET /in/the/body HTTP/1.1\r\n\r\n", *lines)
    if framing == "chunked":
        request = request.replace(b"content-length: 29", b"transfer-encoding: chunked")
        request = request.replace(b"\r\n\r\nGET", b"\r\n\r\n1d\r\nGET", 1) + b"\r\n0\r\n\r\n"
    last = post("/last", b"", "connection: close")
    async with listening(echo) as (port, _):
        first, rest = post("/first") + request, post("/next", b"", *lines) + last
        if in_pieces:
            middle = first.index(b"GET")
            answers = await exchange(port, first[:middle], first[middle:] + rest)
        else:
            answers = await exchange(port, first + rest)

    bodies = re.findall(rb"<(\S+) \S+ (.*?)>", answers, re.DOTALL)
    assert bodies == [
        (b"/first", b""),
        (b"/java", b"GET /in/the/body HTTP/1.1\r\n\r\n"),
        (b"/next", b""),
        (b"/last", b""),
    ]


async def test_takes_many_offers_at_once() -> None:
    """However many requests are sent at once that ask for another protocol."""
    one = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"
    async with listening() as (port, _):
        answers = await exchange(port, one * 800 + last)

    assert answers.count(b"HTTP/1.1 200 OK") == 801


async def test_tells_the_request_in_hand_that_its_client_has_left() -> None:
    """Not only the last of those that came together."""
    left.clear()
    async with listening(echo) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post("/leave") + post("/second"))
        await writer.drain()
        writer.close()
        await turns(lambda: left)

    assert left == ["/leave"]


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
