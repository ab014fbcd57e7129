"""Run: one execution of a graph, its events, its end."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import weakref
from dataclasses import replace

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.graphs import Computed, bind, make_graph, model_node, to_binding
from loom_fakes.run_bench import RunBench, read_events
from loom_fakes.scripted import settle

from torchloom.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    NodeFailed,
    QueueFull,
    TaskFailed,
    TorchLoomError,
)
from torchloom.graph import Constant, Items, Node, TemplateCall
from torchloom.policy import CachePolicy, RetryPolicy
from torchloom.run import TRANSITIONS, RunState, describe
from torchloom.run_options import CallOptions


@pytest.fixture
def bench(clock: ManualClock) -> RunBench:
    """Give a bench."""
    return RunBench(clock)


def _node(name: str, **inputs: object) -> Node:
    return model_node(name, name, **inputs)


CHAIN = make_graph(_node("a", x="$inputs.x"), _node("b", y="$a.y"), outputs={"z": "$b.z"})


@pytest.mark.parametrize(
    ("old", "new"), list(itertools.product(RunState, RunState)), ids=lambda s: s.value
)
async def test_ends_only_as_the_table_allows(bench: RunBench, old: RunState, new: RunState) -> None:
    """Over all pairs: an allowed move moves, any other is a fault of ours."""
    run = bench.make(make_graph())
    run.state = old
    error = None if new is RunState.DONE else TaskFailed("x")
    if new in TRANSITIONS[old]:
        run._end(new, outputs={}, error=error)
        assert run.state is new
        assert run.is_over
    else:
        with pytest.raises(AssertionError):
            run._end(new, outputs={}, error=error)
        assert run.state is old


async def test_tells_everything_that_happens_in_order(bench: RunBench) -> None:
    """From start to end, each node's start and finish, with ids that rise by one."""
    run = bench.start(CHAIN, {"x": 1})
    await bench.caller.answer("a", y=2)
    call = await bench.caller.take("b")
    assert call.inputs == {"y": 2}
    bench.clock.advance(2.0)
    call.answer.set_result({"z": 3})
    assert await run.result() == {"z": 3}
    events = await read_events(run)
    assert [number for number, *_ in events] == list(range(1, 7))
    assert [(kind, data) for _, kind, data in events[:-1]] == [
        ("run.started", {"run": run.id, "workflow": "flow", "version": 1}),
        ("node.started", {"node": "a"}),
        ("node.finished", {"node": "a", "seconds": 0.0}),
        ("node.started", {"node": "b"}),
        ("node.finished", {"node": "b", "seconds": 2.0}),
    ]
    _, kind, data = events[-1]
    assert (kind, data["outputs"]) == ("run.finished", {"z": 3})
    timings = data["timings"]
    assert isinstance(timings, dict)
    assert (timings["total_s"], timings["critical_path"]) == (2.0, ("a", "b"))
    assert await read_events(run, after=4) == events[4:]
    assert (run.state, run.duration_s, run.error) == (RunState.DONE, 2.0, None)
    assert f"<Run {run.id} of flow@1: done, <Progress done: ['a', 'b']>>" == repr(run)


async def test_runs_side_by_side_what_does_not_wait_for_each_other(bench: RunBench) -> None:
    """A node starts when its needs are settled; the length comes from the longest way."""
    graph = make_graph(
        _node("a"),
        _node("slow", x="$a.x"),
        _node("fast", x="$a.x"),
        _node("end", s="$slow.x", f="$fast.x"),
    )
    run = bench.start(graph)
    await bench.caller.answer("a", x=1)
    await bench.caller.take("slow")
    await bench.caller.answer("fast", x=2)
    await settle()
    assert "in flight: ['slow']; done: ['a', 'fast']" in repr(run)
    bench.clock.advance(3.0)
    await bench.caller.answer("slow", x=3)
    await bench.caller.answer("end", x=4)
    await run.wait()
    assert run.timings.critical_path == ("a", "slow", "end")
    timing = run.timings.nodes["slow"]
    assert (timing.started_s, timing.finished_s) == (0.0, 3.0)
    assert (timing.queue_s, timing.run_s, timing.num_tasks) == (0.25, 0.5, 1)
    assert bench.series()["node_seconds", "flow", "slow"] == 3.0


async def test_waits_for_nodes_that_it_only_comes_after(bench: RunBench) -> None:
    """`after` orders without reading."""
    graph = make_graph(_node("a"), replace(_node("b"), after=frozenset({"a"})))
    run = bench.start(graph)
    await bench.caller.take("a")
    await settle()
    assert len(bench.caller.calls) == 1
    await bench.caller.answer("a")
    await bench.caller.answer("b", x=1)
    assert await run.result() == {"result": {"x": 1}}


async def test_skips_what_reads_a_skipped_node(bench: RunBench) -> None:
    """Skipping spreads to readers without a default; an output that reads one is None."""
    graph = make_graph(
        replace(_node("a"), when=to_binding("$inputs.flag")),
        _node("b", x="$a.x"),
        _node("c", x=Computed(lambda scope: scope.get("a", "none"), frozenset({"a"}))),
        outputs={"b": "$b.x", "c": "$c.x"},
    )
    run = bench.start(graph, {"flag": False})
    call = await bench.caller.take("c")
    assert call.inputs == {"x": "none"}
    call.answer.set_result({"x": 1})
    assert await run.result() == {"b": None, "c": 1}
    skipped = [data["node"] for _, kind, data in await read_events(run) if kind == "node.skipped"]
    assert skipped == ["a", "b"]
    assert set(run.timings.nodes) == {"c"}


async def test_makes_no_chunks_for_a_run_that_nobody_streams(bench: RunBench) -> None:
    """The answer is the same, and the streamed node's outputs are still told at its end."""
    run = bench.start(make_graph(_node("loud"), stream=("loud",)), is_streamed=False)
    assert (await bench.caller.take("loud")).sink is None
    await bench.caller.answer("loud", text="hi")
    await run.wait()
    told = {kind: data for _, kind, data in await read_events(run)}
    assert "node.chunk" not in told
    assert told["node.finished"]["outputs"] == {"text": "hi"}


async def test_tells_chunks_items_and_outputs_of_streamed_nodes(bench: RunBench) -> None:
    """Only nodes of the graph's stream are told in detail."""
    graph = make_graph(
        _node("quiet"),
        replace(_node("loud", x="$quiet.x"), items=Items("lines")),
        replace(_node("each", x="$item"), foreach=to_binding("$loud.items")),
        stream=("loud", "each"),
    )
    run = bench.start(graph)
    assert (await bench.caller.take("quiet")).sink is None
    await bench.caller.answer("quiet", x=1)
    call = await bench.caller.take("loud")
    assert call.sink is not None
    call.sink({"text": "one\n"})
    call.answer.set_result({"text": "one\n"})
    item = await bench.caller.take("each")
    assert item.sink is not None
    item.sink({"image": b"x"})
    item.answer.set_result({"y": 2})
    await run.wait()
    told = [(kind, dict(data)) for _, kind, data in await read_events(run)]
    assert ("node.chunk", {"node": "loud", "text": "one\n"}) in told
    assert ("node.item", {"node": "loud", "index": 0, "item": "one"}) in told
    assert ("node.chunk", {"node": "each", "index": 0, "image": b"x"}) in told
    finished = {data["node"]: data.get("outputs") for kind, data in told if kind == "node.finished"}
    assert finished == {
        "quiet": None,
        "loud": {"text": "one\n", "items": ["one"]},
        "each": {"y": [2]},
    }


async def test_tells_of_retries_and_cache_answers(bench: RunBench) -> None:
    """Another attempt is an event and a count; the cache's answers are counted."""
    node = replace(_node("a"), retry=RetryPolicy(attempts=2), cache=CachePolicy())
    run = bench.start(make_graph(node))
    await bench.caller.fail("a", TaskFailed("no"))
    await bench.caller.answer("a", x=1)
    await run.wait()
    (retried,) = [data for _, kind, data in await read_events(run) if kind == "node.retried"]
    assert retried == {"node": "a", "attempt": 2, "error": describe(TaskFailed("no"))}
    assert bench.series()["retries", "flow", "a"] == 1
    assert bench.series()["cache_requests", "a", "miss"] == 1


# Failing


async def test_fails_with_the_node_that_failed(bench: RunBench) -> None:
    """The first failure ends the run, cancels what is in flight, and names its node."""
    run = bench.start(make_graph(_node("a"), _node("b"), outputs={}))
    other = await bench.caller.take("b")
    await bench.caller.fail("a", QueueFull("No room.", retry_after_s=2.0))
    with pytest.raises(NodeFailed, match="Node 'a': No room") as failure:
        await run.result()
    assert (failure.value.status, failure.value.retry_after_s) == (503, 2.0)
    assert other.answer.cancelled()
    assert (run.state, run.outputs, run.error) == (RunState.FAILED, None, failure.value)
    _, kind, data = (await read_events(run))[-1]
    assert kind == "run.failed"
    assert data["error"] == {
        "type": "urn:torchloom:queue-full",
        "title": "The queue is full",
        "status": 503,
        "detail": "Node 'a': No room.",
    }
    assert bench.series()["runs_in_progress", "flow"] == 0
    assert ("run_seconds", "flow", "failed") in bench.series()


async def test_fails_with_an_output_that_cannot_be_worked_out(bench: RunBench) -> None:
    """An expression that fails at the end names its output."""

    def fail(_: object) -> object:
        raise InvalidInput("no such key")

    run = bench.start(make_graph(outputs={"x": Computed(fail)}))
    with pytest.raises(TaskFailed, match="Output 'x': no such key"):
        await run.result()


async def test_fails_when_its_time_is_over(bench: RunBench) -> None:
    """A deadline ends the run and cancels what it has begun."""
    run = bench.start(CHAIN, {"x": 1}, timeout_s=0.01, priority=3, tenant="me")
    call = await bench.caller.take("a")
    deadline = bench.clock() + 0.01
    assert call.options == CallOptions(deadline=deadline, priority=3, tenant="me")
    with pytest.raises(DeadlineExceeded, match=r"longer than its 0\.01 s"):
        await run.result()
    assert call.answer.cancelled()
    assert run.state is RunState.FAILED


async def test_begins_nothing_when_its_time_is_over_at_once(bench: RunBench) -> None:
    """A run without time does no work."""
    run = bench.start(CHAIN, {"x": 1}, timeout_s=0.0)
    with pytest.raises(DeadlineExceeded):
        await run.result()
    assert all(call.answer.cancelled() for call in bench.caller.calls)


async def test_ends_even_by_a_fault_of_ours(
    bench: RunBench, caplog: pytest.LogCaptureFixture
) -> None:
    """What must not happen is logged with its trace; the caller is told, and not of the details."""
    run = bench.start(CHAIN, {"x": 1})
    await bench.caller.fail("a", ZeroDivisionError("secret"))
    with caplog.at_level(logging.ERROR), pytest.raises(TaskFailed, match=r"^An internal error"):
        await run.result()
    assert run.state is RunState.FAILED
    assert "secret" in caplog.text


# Cancelling


async def test_cancels_everything_that_it_has_begun(bench: RunBench) -> None:
    """Cancelling a run reaches each of its calls; nothing further begins."""
    run = bench.start(make_graph(_node("a"), _node("b"), _node("c", x="$a.x"), outputs={}))
    calls = [await bench.caller.take(model) for model in "ab"]
    run.cancel()
    with pytest.raises(Cancelled):
        await run.result()
    run.cancel()
    await settle()
    assert all(call.answer.cancelled() for call in calls)
    assert len(bench.caller.calls) == 2
    assert run.state is RunState.CANCELLED
    assert (await read_events(run))[-1][1] == "run.failed"


async def test_can_be_cancelled_before_it_has_begun(bench: RunBench) -> None:
    """A cancellation in the turn of its start leaves nobody waiting."""
    run = bench.start(CHAIN, {"x": 1})
    run.cancel()
    with pytest.raises(Cancelled):
        await run.result()
    assert bench.caller.calls == []
    bench.make(CHAIN).cancel()


async def test_goes_on_without_those_who_wait_for_it(bench: RunBench) -> None:
    """Leaving `result` or `events` does not cancel the run."""
    run = bench.start(CHAIN, {"x": 1})
    waiting = asyncio.ensure_future(run.result())
    reading = asyncio.ensure_future(read_events(run))
    await bench.caller.take("a")
    waiting.cancel()
    reading.cancel()
    await bench.caller.answer("a", y=1)
    await bench.caller.answer("b", z=2)
    assert await run.result() == {"z": 2}


# Memory


class _Large(dict[str, object]):
    """A result whose life can be watched."""


async def test_frees_results_after_their_last_reader(bench: RunBench) -> None:
    """While a later node runs, what nobody reads any more is gone from memory."""
    graph = make_graph(
        _node("a"),
        _node("b", size="$a.size"),
        _node("c", x="$b.x"),
        _node("d", x="$c.x"),
        outputs={"d": "$d.x"},
    )
    run = bench.start(graph)
    large = _Large(size=1)
    life = weakref.ref(large)
    (await bench.caller.take("a")).answer.set_result(large)
    del large
    await bench.caller.answer("b", x=1)
    await bench.caller.take("c")
    bench.caller.calls.clear()
    gc.collect()
    assert life() is None
    run.cancel()
    await run.wait()


async def test_keeps_no_result_of_others_while_a_node_runs(bench: RunBench) -> None:
    """A node holds what it reads, not what happened to be there when it started."""
    graph = make_graph(
        _node("large"),
        _node("long"),
        _node("reader", size="$large.size"),
        _node("late", x="$long.x"),
        outputs={"late": "$late.x"},
    )
    run = bench.start(graph)
    large = _Large(size=1)
    life = weakref.ref(large)
    (await bench.caller.take("large")).answer.set_result(large)
    del large
    await bench.caller.take("reader")
    await bench.caller.answer("long", x=1)
    await bench.caller.take("late")
    await bench.caller.answer("reader")
    await settle()
    bench.caller.calls.clear()
    gc.collect()
    assert life() is None
    run.cancel()
    await run.wait()


async def test_runs_a_graph_of_templates_alone(bench: RunBench) -> None:
    """A run needs no model."""
    hello = Node(name="hello", call=TemplateCall(Constant("hi")))
    graph = make_graph(hello, outputs={"text": "$hello.text", "fixed": 1, **bind()})
    assert await bench.start(graph).result() == {"text": "hi", "fixed": 1}


def test_describes_errors_as_problems() -> None:
    """Title and status are the error's, the detail its message."""
    problem = describe(TorchLoomError("x"))
    assert problem == {
        "type": "urn:torchloom:torch-loom-error",
        "title": "TorchLoom could not do this",
        "status": 500,
        "detail": "x",
    }
