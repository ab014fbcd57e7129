"""EventLog: what happened, for any number of readers."""

from __future__ import annotations

import asyncio

from loom_fakes.scripted import settle

from torchloom.event_log import EventLog, RunEvent


async def _read(log: EventLog, after: int = 0) -> list[RunEvent]:
    return [event async for event in log.follow(after)]


async def test_gives_all_events_in_order_to_every_reader() -> None:
    """Ids rise by one from 1; a reader sees the past, then what comes, then the end."""
    log = EventLog()
    log.add("run.started", {"run": 1})
    readers = [asyncio.ensure_future(_read(log)) for _ in range(50)]
    await settle()
    log.add("node.chunk", {"text": "a"})
    await settle()
    log.add("node.chunk", {"text": "b"})
    log.close()
    late = await _read(log)
    for reader in readers:
        assert await reader == late
    assert [(e.id, e.type, e.data.get("text")) for e in late] == [
        (1, "run.started", None),
        (2, "node.chunk", "a"),
        (3, "node.chunk", "b"),
    ]
    assert len(log) == 3


async def test_goes_on_after_an_id() -> None:
    """A reader that comes back gets what it has not seen, even if it asks too early."""
    log = EventLog()
    for number in range(3):
        log.add("node.chunk", {"number": number})
    ahead = asyncio.ensure_future(_read(log, after=4))
    await settle()
    log.add("node.chunk", {"number": 3})
    log.add("node.chunk", {"number": 4})
    log.close()
    assert [event.id for event in await _read(log, after=2)] == [3, 4, 5]
    assert [event.id for event in await _read(log, after=-7)] == [1, 2, 3, 4, 5]
    assert [event.id for event in await ahead] == [5]
    assert await _read(log, after=99) == []


async def test_is_not_held_up_by_readers_that_stall_or_leave() -> None:
    """A reader that never reads holds nobody up, and one that leaves is forgotten."""
    log = EventLog()
    stalled = log.follow()
    leaver = asyncio.ensure_future(_read(log))
    waiter = asyncio.ensure_future(_read(log))
    await settle()
    leaver.cancel()
    await settle()
    assert len(log._waiters) == 1
    log.add("node.chunk", {})
    log.close()
    assert len(await waiter) == 1
    assert (await anext(stalled)).id == 1
    assert not log._waiters


async def test_wakes_a_reader_once_for_events_that_come_together() -> None:
    """Events of one turn of the loop are read without waiting in between."""
    log = EventLog()
    reader = asyncio.ensure_future(_read(log))
    await settle()
    for _ in range(1000):
        log.add("node.chunk", {})
    log.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert reader.done()
    assert len(reader.result()) == 1000
