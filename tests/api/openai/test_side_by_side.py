"""Several pieces of work for one request."""

from __future__ import annotations

import asyncio

import pytest

from torchloom.errors import TaskFailed
from torchloom_api.openai.side_by_side import all_of


async def test_gives_results_in_order() -> None:
    """They run at once, and whichever is done first, the order is that of the work."""
    first_may_end = asyncio.Event()

    async def first() -> str:
        await first_may_end.wait()
        return "first"

    async def second() -> str:
        first_may_end.set()
        return "second"

    assert await all_of([first(), second()]) == ["first", "second"]


async def test_ends_with_the_first_that_fails() -> None:
    """Its error is raised by itself, and the others are cancelled."""
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def fail() -> None:
        raise TaskFailed("broken")

    with pytest.raises(TaskFailed, match="broken"):
        await all_of([wait(), fail()])
    assert ended == ["cancelled"]
