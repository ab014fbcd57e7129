"""Backoff: begins at once the first time, later each time after that, until it is forgiven."""

from __future__ import annotations

import asyncio

import pytest

from torchloom.backoff import Backoff


class _Loop:
    """Stands in for the event loop: notes the waits, and calls when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits_s: list[float] = []
        self._real = asyncio.get_running_loop()
        monkeypatch.setattr(self._real, "call_later", self._call_later)

    def _call_later(self, wait_s: float, call: object) -> asyncio.Handle:
        self.waits_s.append(wait_s)
        return self._real.call_soon(call)  # type: ignore[arg-type]  # a function without arguments


async def test_waits_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute at the most."""
    loop, begun = _Loop(monkeypatch), asyncio.Queue[None]()
    backoff = Backoff(lambda: begun.put_nowait(None))
    for _ in range(10):
        backoff.schedule()
        await begun.get()
    assert loop.waits_s == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_begins_at_once_after_all_was_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """What served in between is not held responsible for what was before."""
    loop = _Loop(monkeypatch)
    backoff = Backoff(lambda: None)
    for _ in range(3):
        backoff.schedule()
    backoff.forgive()
    backoff.schedule()
    assert loop.waits_s == [0.0, 0.5, 1.0, 0.0]


async def test_begins_nothing_that_was_cancelled() -> None:
    """Nor does it mind if there was nothing to cancel."""
    begun: list[str] = []
    backoff = Backoff(lambda: begun.append("begun"))
    backoff.cancel()
    backoff.schedule()
    backoff.cancel()
    await asyncio.sleep(0.01)
    assert begun == []
