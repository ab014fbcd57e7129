"""Calls: what nodes ask for is done at the pool, or by the graph, that the split picks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import deploy
from loom_fakes.graphs import make_graph, model_node
from loom_fakes.scripted import ScriptedExecutor, ScriptedLink, settle

from torchloom.cache import ResultCache
from torchloom.calls import Calls
from torchloom.errors import UnknownModel, UnknownWorkflow
from torchloom.graph import Graph, ModelCall, WorkflowCall
from torchloom.pool import Pool
from torchloom.run_options import CallOptions
from torchloom.stats import Stats
from torchloom.timings import Meter
from torchloom.version_table import VersionTable


class _Bench:
    """Calls over two versions of a model, whose workers the test plays."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.stats = Stats()
        self.pools: VersionTable[Pool] = VersionTable("Model", UnknownModel)
        self.graphs: VersionTable[Graph] = VersionTable("Workflow", UnknownWorkflow)
        self.links: dict[int, ScriptedLink] = {}
        self.calls = Calls(self.pools, self.graphs, ResultCache(now=clock), self.stats, now=clock)

    async def add(self, version: int) -> None:
        executor = ScriptedExecutor()
        deployment = deploy("open_echo", version=version)
        pool = Pool(deployment, executor, self.stats, now=self.clock)
        await pool.start()
        self.pools.put("echo", version, pool)
        self.links[version] = executor.link


@pytest.fixture
async def bench(clock: ManualClock) -> AsyncIterator[_Bench]:
    """Give calls over versions 1 and 2 of `echo`."""
    bench = _Bench(clock)
    for version in (1, 2):
        await bench.add(version)
    yield bench
    bench.calls.limits.end()
    for pool in bench.pools:
        pool.check()
        await pool.stop()


async def test_calls_the_version_that_the_split_picks_and_measures_it(bench: _Bench) -> None:
    """The meter is told how long the task waited and ran, and what its answer took."""
    bench.pools.set_split("echo", {1: 1.0})
    meter = Meter()
    call = bench.calls.call_model(
        ModelCall("echo"), {"text": "a"}, {}, sink=None, options=CallOptions(), meter=meter
    )
    calling = asyncio.ensure_future(call)
    await settle()
    assert (bench.links[1].texts, bench.links[2].texts) == ([["a"]], [])
    bench.clock.advance(2.0)
    bench.links[1].answer_all(text="A", usage={"prompt": 3})
    assert await calling == {"text": "A", "usage": {"prompt": 3}}
    assert (meter.num_tasks, meter.run_s, meter.usage) == (1, 2.0, {"echo": {"prompt": 3}})


async def test_calls_the_version_that_is_named(bench: _Bench) -> None:
    """Whatever the split; and a caller who is cancelled cancels his task."""
    bench.pools.set_split("echo", {1: 1.0})
    call = bench.calls.call_model(
        ModelCall("echo", 2), {"text": "a"}, {}, sink=None, options=CallOptions(), meter=Meter()
    )
    calling = asyncio.ensure_future(call)
    await settle()
    ((task_id,),) = bench.links[2].batches
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (bench.links[1].texts, bench.links[2].cancelled) == ([], [task_id])


async def test_runs_a_workflow_within_the_time_that_is_left(bench: _Bench) -> None:
    """It has what the run that asks for it has left, and its cancellation ends it."""
    bench.graphs.put("flow", 1, make_graph(model_node("answer", text="$inputs.text")))
    options = CallOptions(deadline=bench.clock() + 5.0, priority=3)
    call = bench.calls.call_workflow(
        WorkflowCall("flow"), {"text": "a"}, options=options, meter=Meter()
    )
    calling = asyncio.ensure_future(call)
    await settle()
    (task,) = bench.pools.get("echo", 2).replicas[0].holding.tasks.values()
    assert (task.deadline, task.priority) == (bench.clock() + 5.0, 3)
    calling.cancel()
    await asyncio.wait([calling])
    await settle()
    assert bench.links[2].cancelled == [task.id]


async def test_gives_copies_a_cache_and_counters_of_their_own(bench: _Bench) -> None:
    """Nobody's answers, nor their counters, change by what a shadow does."""
    bench.graphs.put("flow", 1, make_graph(model_node("answer", text="$inputs.text")))
    call = bench.calls.call_workflow(
        WorkflowCall("flow"), {"text": "a"}, options=CallOptions(is_copy=True), meter=Meter()
    )
    calling = asyncio.ensure_future(call)
    await settle()
    bench.links[2].answer_all(text="A")
    assert await calling == {"result": {"text": "A"}}
    assert not [s for s in bench.stats.snapshot() if s.metric.name == "run_seconds"]
