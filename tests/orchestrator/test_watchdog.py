"""Watchdog: who does not come back in time."""

from __future__ import annotations

import asyncio

import uvloop

from torchloom.watchdog import Watchdog


async def test_calls_when_nobody_comes_back() -> None:
    """Once the time is over."""
    late = asyncio.Event()
    Watchdog(late.set).begin(0.0)
    await late.wait()


async def test_calls_nobody_who_comes_back_or_has_no_limit() -> None:
    """Each beginning, and the end, takes back what was before."""
    late = asyncio.Event()
    ended, renewed = Watchdog(late.set), Watchdog(late.set)
    ended.begin(0.0)
    ended.end()
    ended.end()
    renewed.begin(0.0)
    renewed.begin(None)
    await asyncio.sleep(0.01)
    assert not late.is_set()


async def test_moves_the_end_when_somebody_comes_back() -> None:
    """Later, and also earlier than it was."""
    calls: list[str] = []
    later, earlier = Watchdog(lambda: calls.append("later")), asyncio.Event()
    later.begin(0.0)
    later.begin(3600.0)
    sooner = Watchdog(earlier.set)
    sooner.begin(3600.0)
    sooner.begin(0.0)
    await earlier.wait()
    await asyncio.sleep(0.01)
    later.end()

    assert calls == []


async def test_watches_again_after_it_has_called() -> None:
    """Each beginning is one of its own."""
    late = asyncio.Event()
    watchdog = Watchdog(late.set)
    for _ in range(2):
        late.clear()
        watchdog.begin(0.001)
        watchdog.begin(0.002)
        await late.wait()


def test_is_come_back_to_on_uvloop_when_it_is_about_to_look() -> None:
    """Its timers of less than half a millisecond are handles that say nothing of themselves."""

    async def watch() -> None:
        late = asyncio.Event()
        watchdog = Watchdog(late.set)
        watchdog.begin(0.0003)
        watchdog.begin(0.0002)
        watchdog.begin(0.01)
        await late.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(watch())
