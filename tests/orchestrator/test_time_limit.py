"""TimeLimits: times that parts of some work may take."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from torchloom.time_limit import TimeLimits


async def test_ends_what_takes_too_long() -> None:
    """The task is cancelled within, and goes on after it as if nobody had."""
    limits = TimeLimits()
    with pytest.raises(TimeoutError), limits.within(0.01):
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    await asyncio.sleep(0)


async def test_leaves_what_is_over_in_time() -> None:
    """What ended before its time is not cancelled when the timer rings for it."""
    limits = TimeLimits()
    with limits.within(0.01):
        pass
    with limits.within(10.0):
        await asyncio.sleep(0.03)
    limits.end()


async def test_gives_each_its_own_time() -> None:
    """A later limit that is shorter ends first, and the longer one still ends."""
    limits = TimeLimits()
    ends: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        with pytest.raises(TimeoutError), limits.within(seconds):
            await asyncio.Event().wait()
        ends.append(name)

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("long", 0.06), ("short", 0.01), ("between", 0.03)):
            group.create_task(wait(name, seconds))
    assert ends == ["short", "between", "long"]


async def test_ends_the_inner_of_two() -> None:
    """Each ends its own block: the outer one goes on after the inner one is over."""
    limits = TimeLimits()
    with limits.within(10.0):
        with pytest.raises(TimeoutError), limits.within(0.01):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
    limits.end()


async def test_lets_others_cancel() -> None:
    """A task that is cancelled from outside is cancelled, also when its time is over then."""
    limits = TimeLimits()
    began = asyncio.Event()

    async def wait() -> None:
        with limits.within(0.0):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_passes_errors_on() -> None:
    """What fails within is no timeout, even where the time is over as well."""
    limits = TimeLimits()

    async def fail() -> None:
        with limits.within(0.0):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError("mine") from None

    with pytest.raises(ValueError, match="mine"):
        await fail()


async def test_forgets_its_timer_at_the_end() -> None:
    """A limit that is added after the end is watched again."""
    limits = TimeLimits()
    with limits.within(10.0):
        pass
    limits.end()
    with pytest.raises(TimeoutError), limits.within(0.01):
        await asyncio.Event().wait()


def test_takes_limits_that_end_at_once_on_uvloop() -> None:
    """Its timers of less than half a millisecond are handles that say nothing of themselves."""

    async def limit_both() -> None:
        limits = TimeLimits()

        async def wait(seconds: float) -> None:
            with pytest.raises(TimeoutError), limits.within(seconds):
                await asyncio.Event().wait()

        async with asyncio.TaskGroup() as group:
            for seconds in (0.0003, 0.02, 0.0, 0.01):
                group.create_task(wait(seconds))
        limits.end()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(limit_both())


def test_serves_one_event_loop_after_the_other() -> None:
    """Once it has let go of the first."""
    limits = TimeLimits()

    async def limit() -> None:
        with pytest.raises(TimeoutError), limits.within(0.001):
            await asyncio.Event().wait()
        limits.end()

    asyncio.run(limit())
    asyncio.run(limit())
