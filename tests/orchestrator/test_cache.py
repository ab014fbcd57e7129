"""ResultCache: kept results, and identical calls in flight that run once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.scripted import settle

from torchloom.cache import ResultCache, Sink, hash_call
from torchloom.engine import Values
from torchloom.errors import InvalidInput, TaskFailed


class _Calls:
    """Executions that the test ends one by one."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self.futures: list[asyncio.Future[Values]] = []

    async def __call__(self, sink: Sink) -> Values:
        self.sinks.append(sink)
        self.futures.append(asyncio.get_running_loop().create_future())
        return await self.futures[-1]


@pytest.fixture
def cache(clock: ManualClock) -> ResultCache:
    """Give a cache of two entries."""
    return ResultCache(max_entries=2, now=clock)


def _get(
    cache: ResultCache, calls: _Calls, key: str = "k", sink: Callable[[Values], None] | None = None
) -> asyncio.Future[tuple[Values, str]]:
    return asyncio.ensure_future(cache.get(key, 10.0, calls, sink))


async def _fill(cache: ResultCache, key: str) -> None:
    async def execute(_: Sink) -> Values:
        return {"key": key}

    assert await cache.get(key, 10.0, execute, None) == ({"key": key}, "miss")


async def test_executes_once_and_keeps_the_result(cache: ResultCache, clock: ManualClock) -> None:
    """The first call is a miss, the next a hit, until the time to live is over."""
    await _fill(cache, "k")
    calls = _Calls()
    clock.advance(9.9)
    assert await _get(cache, calls) == ({"key": "k"}, "hit")
    clock.advance(0.1)
    again = _get(cache, calls)
    await settle()
    calls.futures[0].set_result({"key": "new"})
    assert await again == ({"key": "new"}, "miss")


async def test_shares_one_execution_between_identical_calls(cache: ResultCache) -> None:
    """Calls that are made while the first is in flight wait for it, and get its chunks too."""
    calls = _Calls()
    seen: dict[str, list[object]] = {"first": [], "second": [], "hit": []}
    first = _get(cache, calls, sink=seen["first"].append)
    await settle()
    calls.sinks[0]({"text": "a"})
    second = _get(cache, calls, sink=seen["second"].append)
    silent = _get(cache, calls)
    await settle()
    calls.sinks[0]({"text": "b"})
    calls.futures[0].set_result({"text": "ab"})
    assert await first == ({"text": "ab"}, "miss")
    assert await second == await silent == ({"text": "ab"}, "shared")
    assert await _get(cache, calls, sink=seen["hit"].append) == ({"text": "ab"}, "hit")
    assert len(calls.futures) == 1
    assert seen == {who: [{"text": "a"}, {"text": "b"}] for who in seen}


async def test_goes_on_while_one_caller_is_left(cache: ResultCache) -> None:
    """The execution outlives the caller that began it, and none of the leaver's chunks are sent."""
    calls = _Calls()
    seen: list[object] = []
    first = _get(cache, calls, sink=seen.append)
    second = _get(cache, calls)
    await settle()
    first.cancel()
    await settle()
    calls.sinks[0]({"text": "a"})
    calls.futures[0].set_result({"text": "a"})
    assert await second == ({"text": "a"}, "shared")
    assert seen == []
    assert not cache._flights


async def test_cancels_the_execution_with_its_last_caller(cache: ResultCache) -> None:
    """When nobody waits any more it is cancelled; the next call begins another one."""
    calls = _Calls()
    callers = [_get(cache, calls) for _ in range(3)]
    await settle()
    for caller in callers:
        assert not calls.futures[0].cancelled()
        caller.cancel()
        await settle()
    assert calls.futures[0].cancelled()
    again = _get(cache, calls)
    await settle()
    calls.futures[1].set_result({"text": "b"})
    assert await again == ({"text": "b"}, "miss")


async def test_does_not_join_an_execution_that_is_being_cancelled(cache: ResultCache) -> None:
    """A call in the same turn as the last caller's leaving begins anew."""
    calls = _Calls()
    first = _get(cache, calls)
    await settle()
    first.cancel()
    await asyncio.sleep(0)
    second = _get(cache, calls)
    await settle()
    calls.futures[1].set_result({})
    assert await second == ({}, "miss")
    assert not cache._flights


async def test_keeps_no_failure(cache: ResultCache) -> None:
    """All who share a call get its error; the next caller tries again."""
    calls = _Calls()
    callers = [_get(cache, calls) for _ in range(2)]
    await settle()
    calls.futures[0].set_exception(TaskFailed("no"))
    for caller in callers:
        with pytest.raises(TaskFailed):
            await caller
    assert len(cache) == 0
    again = _get(cache, calls)
    await settle()
    calls.futures[1].set_result({})
    assert (await again)[1] == "miss"


async def test_drops_what_was_used_longest_ago(cache: ResultCache) -> None:
    """The bound is in entries, and a hit counts as a use."""
    await _fill(cache, "a")
    await _fill(cache, "b")
    await _get(cache, _Calls(), "a")
    await _fill(cache, "c")
    assert len(cache) == 2
    calls = _Calls()
    assert (await _get(cache, calls, "a"))[1] == "hit"
    gone = _get(cache, calls, "b")
    await settle()
    assert len(calls.futures) == 1
    gone.cancel()
    await settle()


def test_gives_one_key_for_the_same_values() -> None:
    """The order of names does not matter; callee, inputs and params do."""
    key = hash_call("m", {"a": 1, "b": [2, {"x": None, "y": 1.5}]}, {"p": True})
    assert key == hash_call("m", {"b": [2, {"y": 1.5, "x": None}], "a": 1}, {"p": True})
    assert key != hash_call("n", {"a": 1, "b": [2, {"x": None, "y": 1.5}]}, {"p": True})
    assert hash_call("m", {"a": 1}, {}) != hash_call("m", {}, {"a": 1})
    assert hash_call("m", {"a": "\ud800"}, {}) != hash_call("m", {"a": "\ud801"}, {})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros(2, "f4"), np.zeros(2, "f8")),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.array([1, 2]), np.array([2, 1])),
        (b"a", b"b"),
        (b"a", "a"),
        (np.float32(1.5), np.float32(2.5)),
    ],
)
def test_tells_arrays_and_bytes_apart(one: object, other: object) -> None:
    """Shape, type and content of arrays are part of the key."""
    assert hash_call("m", {"x": one}, {}) == hash_call("m", {"x": one}, {})
    assert hash_call("m", {"x": one}, {}) != hash_call("m", {"x": other}, {})


def test_refuses_values_that_cannot_be_compared() -> None:
    """What has no key is the caller's fault, told as such, and no crash of ours."""
    with pytest.raises(InvalidInput, match="`cache` needs inputs that can be compared"):
        hash_call("m", {"x": object()}, {})
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidInput):
        hash_call("m", {"x": loop}, {})
