"""Several pieces of work as one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from torchloom_api.torchserve.grpc.merging import merge


async def _each(*items: int) -> AsyncIterator[int]:
    for item in items:
        yield item


async def _echo(item: int) -> AsyncGenerator[str, None]:
    yield f"{item} begins"
    await asyncio.sleep(0)
    yield f"{item} ends"


async def test_gives_what_all_of_the_work_gives() -> None:
    """What one gives stays in its order; others come in between."""
    found = [part async for part in merge(_each(1, 2, 3), _echo, most=2)]

    assert sorted(found) == sorted(f"{n} {what}" for n in (1, 2, 3) for what in ("begins", "ends"))
    assert all(found.index(f"{n} begins") < found.index(f"{n} ends") for n in (1, 2, 3))


async def test_gives_nothing_of_nothing() -> None:
    """And ends."""
    assert [part async for part in merge(_each(), _echo, most=2)] == []


async def test_takes_no_more_items_than_may_be_worked_on() -> None:
    """The next one is begun when one is over."""
    taken = []
    go_on = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        for item in range(5):
            taken.append(item)
            yield item

    async def wait(item: int) -> AsyncGenerator[int, None]:
        yield item
        await go_on.wait()

    async with aclosing(merge(items(), wait, most=2)) as parts:
        first = [await anext(parts), await anext(parts)]
        assert (first, taken) == ([0, 1], [0, 1, 2])
        go_on.set()
        assert [part async for part in parts] == [2, 3, 4]


@pytest.mark.parametrize("is_item", [True, False])
async def test_raises_what_items_or_work_raise(is_item: bool) -> None:  # noqa: FBT001 - a case
    """The rest of the work is ended by it."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def items() -> AsyncIterator[int]:
        yield 0
        yield 1
        await begun.wait()
        if is_item:
            raise ValueError("no item")

    async def work(item: int) -> AsyncGenerator[int, None]:
        yield item
        if item == 1 and not is_item:
            raise ValueError("no work")
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(ValueError, match="no item" if is_item else "no work"):
        async for _ in merge(items(), work, most=4):
            pass
    assert ended.is_set()


async def test_ends_the_work_when_it_is_closed() -> None:
    """Nothing goes on for somebody who has left."""
    ended = asyncio.Event()

    async def work(item: int) -> AsyncGenerator[int, None]:
        try:
            while True:
                yield item
        finally:
            ended.set()

    async with aclosing(merge(_each(1), work, most=2)) as parts:
        assert await anext(parts) == 1
    assert ended.is_set()
