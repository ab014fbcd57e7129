"""Watchdog: who does not come back in time."""

from __future__ import annotations

import asyncio

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
