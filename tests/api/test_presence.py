"""Noticing that a client has left."""

from __future__ import annotations

import asyncio

import pytest

from torchloom_api.exchange import ClientGone, Exchange
from torchloom_api.presence import Presence, while_present


class Wire:
    """The client's end of a connection."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.sent: list[bytes] = []
        self.wrote = asyncio.Event()

    async def receive(self) -> dict[str, object]:
        """Wait for the client to leave."""
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, object]) -> None:
        """Keep what is written."""
        self.sent.append(message["body"])
        self.wrote.set()

    def exchange(self) -> Exchange:
        """Make the server's end."""
        return Exchange({"path": "/", "headers": []}, self.receive, self.send)


async def test_gives_what_the_work_gives() -> None:
    """A client that stays gets the work's answer."""
    assert await while_present(Wire().exchange(), asyncio.sleep(0, "done")) == "done"


async def test_cancels_the_work_of_a_client_that_leaves() -> None:
    """Work is cancelled when the client goes, and the caller is told so by ClientGone."""
    wire, is_cancelled = Wire(), asyncio.Event()

    async def work() -> None:
        try:
            wire.gone.set()
            await asyncio.Event().wait()
        finally:
            is_cancelled.set()

    with pytest.raises(ClientGone):
        await while_present(wire.exchange(), work())
    assert is_cancelled.is_set()
    assert asyncio.current_task().cancelling() == 0


async def test_lets_others_cancel() -> None:
    """A task that is cancelled from elsewhere is cancelled, not a client that left."""
    task = asyncio.create_task(while_present(Wire().exchange(), asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_calls_once_when_the_client_leaves() -> None:
    """`on_leave` is called one time."""
    wire, calls = Wire(), asyncio.Queue[str]()
    with Presence(wire.exchange(), lambda: calls.put_nowait("left")) as presence:
        wire.gone.set()
        await calls.get()

        assert presence.has_left
    assert calls.empty()


async def test_watches_no_more_after_the_block() -> None:
    """A client that leaves after its answer disturbs nothing."""
    wire, calls = Wire(), []
    with Presence(wire.exchange(), lambda: calls.append("left")):
        pass
    wire.gone.set()
    for _ in range(5):
        await asyncio.sleep(0)

    assert calls == []


async def test_says_that_it_is_still_there() -> None:
    """A silent stream gets a comment line, which readers of events leave out, again and again."""
    wire = Wire()
    exchange = wire.exchange()
    exchange.status = 200
    with Presence(exchange, lambda: None, keepalive_s=0.001):
        await wire.wrote.wait()
        wire.wrote.clear()
        await wire.wrote.wait()

    assert set(wire.sent) == {b": still here\n\n"}


async def test_says_nothing_before_the_answer_has_begun() -> None:
    """A comment before the status would break the answer; that the client leaves is still seen."""
    wire, left = Wire(), asyncio.Event()
    with Presence(wire.exchange(), left.set, keepalive_s=0.001):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.wrote.wait(), 0.05)
        wire.gone.set()
        await left.wait()

    assert wire.sent == []
