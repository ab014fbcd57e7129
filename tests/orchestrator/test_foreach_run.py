"""ForeachRun: a task an item, from a list or from a feed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.graphs import Computed, model_node, to_binding
from loom_fakes.scripted import settle
from loom_fakes.watcher import NotingWatcher

from torchloom.engine import Values
from torchloom.errors import InvalidInput, ItemFailed, TaskFailed
from torchloom.feed import Feed
from torchloom.foreach_run import ForeachRun
from torchloom.graph import Constant, MissingValue, Node


LIVE = replace(model_node("n"), foreach=to_binding("$a.items"), live="a", outputs=("y",))


class _Items:
    """Works items out as the test says."""

    def __init__(self) -> None:
        self.answers: dict[tuple[int, object], asyncio.Future[Values]] = {}

    async def __call__(self, scope: Mapping[str, object], index: int) -> Values:
        assert scope["index"] == index
        answer = asyncio.get_running_loop().create_future()
        self.answers[index, scope["item"]] = answer
        return await answer  # type: ignore[no-any-return]  # the future's type is not known here


class _Bench:
    """Runs a foreach over a feed."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.feed = Feed(clock, may_start_over=True)
        self.items = _Items()
        self.watcher = NotingWatcher()

    def start(
        self, node: Node = LIVE, *, is_watched: bool = False, has_feed: bool = True
    ) -> asyncio.Task[Values]:
        watcher = self.watcher if is_watched else None
        foreach = ForeachRun(node, self.items, watcher=watcher, now=self.clock)
        feed = self.feed if has_feed else None
        return asyncio.ensure_future(foreach.execute({"inputs": {}}, feed))

    async def add(self, *items: object) -> None:
        for item in items:
            self.feed.add(item)
        await settle()

    async def end(self, *items: object) -> None:
        self.feed.end({"items": list(items)})
        await settle()

    async def answer(self, index: int, item: object, outcome: Values | Exception) -> None:
        answer = self.items.answers[index, item]
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
        await settle()


@pytest.fixture
def bench(clock: ManualClock) -> _Bench:
    """Give a bench."""
    return _Bench(clock)


async def test_begins_each_item_as_it_comes(bench: _Bench) -> None:
    """From a feed one by one, with what the outputs hold beyond it at the end."""
    run = bench.start()
    await bench.add("a")
    assert list(bench.items.answers) == [(0, "a")]
    await bench.answer(0, "a", {"y": 1})
    await bench.end("a", "b")
    assert list(bench.items.answers) == [(0, "a"), (1, "b")]
    await bench.answer(1, "b", {"y": 2})
    assert await run == {"y": [1, 2]}


async def test_works_its_list_out_once(bench: _Bench) -> None:
    """However many items there are, and however often one of them is done."""
    count = 0

    def give(_: object) -> object:
        nonlocal count
        count += 1
        return ["a", "b"]

    run = bench.start(replace(LIVE, foreach=Computed(give), live=None), has_feed=False)
    await settle()
    await bench.answer(1, "b", {"y": 2})
    await bench.answer(0, "a", {"y": 1})
    assert await run == {"y": [1, 2]}
    assert count == 1


async def test_reads_no_feed_that_it_has_left(bench: _Bench) -> None:
    """Done, failed or cancelled: a feed tells nobody who does not listen."""
    limited = bench.start(replace(LIVE, limit=Constant(1)))
    cancelled = bench.start()
    await bench.add("a")
    cancelled.cancel()
    await settle()
    assert len(bench.feed._readers) == 1
    limited.cancel()
    await settle()
    assert not bench.feed._readers
    assert all(answer.cancelled() for answer in bench.items.answers.values())


async def test_tells_a_watcher_of_each_item_that_is_done(bench: _Bench) -> None:
    """And finishes those that have begun when one has failed."""
    run = bench.start(is_watched=True)
    await bench.add("a", "b", "c")
    await bench.answer(1, "b", TaskFailed("no"))
    await bench.answer(2, "c", {"y": 3})
    assert not run.done()
    await bench.answer(0, "a", {"y": 1})
    with pytest.raises(ItemFailed, match="Item 1: no"):
        await run
    assert bench.watcher.told == [("outputs", 2, {"y": 3}), ("outputs", 0, {"y": 1})]


async def test_cancels_what_has_begun_when_its_items_are_replaced(bench: _Bench) -> None:
    """A watcher is told, but only of a start that there was."""
    run = bench.start(is_watched=True)
    await settle()
    bench.feed.start_over()
    await bench.add("a", "b")
    await bench.answer(0, "a", {"y": 1})
    bench.feed.start_over()
    await bench.add("x")
    assert bench.items.answers[1, "b"].cancelled()
    await bench.answer(0, "x", {"y": 2})
    await bench.end("x")
    assert await run == {"y": [2]}
    assert bench.watcher.told == [
        ("outputs", 0, {"y": 1}),
        ("start over", None, None),
        ("outputs", 0, {"y": 2}),
    ]


async def test_is_skipped_with_its_source(bench: _Bench) -> None:
    """A feed that ends without outputs leaves nothing to read."""
    run = bench.start()
    await settle()
    bench.feed.end(None)
    with pytest.raises(MissingValue):
        await run


@pytest.mark.parametrize("limit", [-1, 1.5, "2"])
async def test_refuses_a_limit_that_is_none(bench: _Bench, limit: object) -> None:
    """Before it waits for anything."""
    with pytest.raises(InvalidInput, match="`limit` needs a whole number"):
        await bench.start(replace(LIVE, limit=Constant(limit)))


async def test_ends_by_a_fault_of_ours_without_leaving_anything(bench: _Bench) -> None:
    """What must not happen ends all the items, and is not taken for a failure of one."""
    run = bench.start(is_watched=True)
    await bench.add("a", "b")
    await bench.answer(0, "a", ZeroDivisionError())
    with pytest.raises(ExceptionGroup):
        await run
    assert bench.items.answers[1, "b"].cancelled()
