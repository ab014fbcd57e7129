"""Merging: what pieces of work give, each as it comes, as one stream. Knows no message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TypeVar

from torchloom_api.registrar import first_error


T = TypeVar("T")
R = TypeVar("R")


async def merge(
    items: AsyncIterator[T], work: Callable[[T], AsyncGenerator[R, None]], *, most: int
) -> AsyncGenerator[R, None]:
    """Work on items as they come, `most` at once, begun in their order; give all that they give.

    Ends with the last of the work. Whoever closes it ends all of it, and so does what raises, which
    is raised here. No more items are taken while what was given waits to be read.
    """
    given: asyncio.Queue[R | None] = asyncio.Queue(most)
    slots = asyncio.Semaphore(most)

    async def run(item: T) -> None:
        async with aclosing(work(item)) as parts:
            async for part in parts:
                await given.put(part)
        slots.release()

    async def run_all() -> BaseException | None:
        try:
            async with asyncio.TaskGroup() as group:
                async for item in items:
                    await slots.acquire()
                    group.create_task(run(item))
        except ExceptionGroup as errors:
            return first_error(errors)
        return None

    async def end() -> BaseException | None:
        error = await run_all()
        await given.put(None)
        return error

    running = asyncio.create_task(end())
    try:
        while (part := await given.get()) is not None:
            yield part
        error = await running
        if error is not None:
            raise error
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
