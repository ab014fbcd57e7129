"""Leaving: who was cancelled and is still held."""

from __future__ import annotations

import asyncio

import pytest

from torchloom import leaving as leaving_module
from torchloom.leaving import Leaving


async def test_calls_for_one_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its time it counts as hung."""
    monkeypatch.setattr(leaving_module, "HANG_S", 0.0)
    hung = asyncio.Event()
    leaving = Leaving(hung.set)
    leaving.add(1)
    assert len(leaving.timers) == 1
    await hung.wait()


async def test_gives_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose steps may take long has long to let go."""
    monkeypatch.setattr(leaving_module, "HANG_S", 0.0)
    hung = asyncio.Event()
    leaving = Leaving(hung.set, 60.0)
    leaving.add(1)
    await asyncio.sleep(0.01)
    leaving.clear()
    assert not hung.is_set()


async def test_calls_for_none_that_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each timer goes with its task, and all of them with the worker."""
    monkeypatch.setattr(leaving_module, "HANG_S", 0.0)
    hung = asyncio.Event()
    leaving = Leaving(hung.set)
    for task_id in (1, 2, 3):
        leaving.add(task_id)
    leaving.remove(1)
    leaving.remove(4)
    leaving.clear()
    await asyncio.sleep(0.01)
    assert (len(leaving.timers), hung.is_set()) == (0, False)
