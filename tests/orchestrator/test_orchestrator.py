"""Orchestrator: models in, workflows in, runs out; with played workers, threads and processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import PATIENCE_S, Gate, deploy
from loom_fakes.graphs import bind, make_graph, model_node, to_binding
from loom_fakes.scripted import ScriptedExecutor, ScriptedLink, settle, until

from torchloom import backoff, leaving
from torchloom.device import Device
from torchloom.engine import Values
from torchloom.errors import (
    BatchContractError,
    Conflict,
    CyclicGraph,
    DeadlineExceeded,
    DeviceUnavailable,
    InvalidInput,
    ModelLoadError,
    NodeFailed,
    NotServing,
    OutOfMemory,
    QueueFull,
    TaskFailed,
    UnknownModel,
    UnknownRun,
    UnknownWorkflow,
    WorkerDied,
)
from torchloom.graph import Constant, Graph, ModelCall, Node, WorkflowCall
from torchloom.orchestrator import Orchestrator
from torchloom.policy import CachePolicy, QueuePolicy, ReplicaPolicy, RetryPolicy
from torchloom.run import Run, RunState
from torchloom.run_options import RunOptions
from torchloom.timings import Meter


class _Bench:
    """An orchestrator over workers that the test plays."""

    def __init__(self, clock: ManualClock, executor: ScriptedExecutor) -> None:
        self.executor = executor
        self.orchestrator = Orchestrator(
            executor=executor, inline_executor=executor, now=clock, history_size=5
        )

    @property
    def link(self) -> ScriptedLink:
        return self.executor.link

    @property
    def links(self) -> list[ScriptedLink]:
        return self.executor.links

    async def answer(self, link: ScriptedLink | None = None, **outputs: object) -> None:
        """Answer the last batch of a worker, once there is one that is open."""
        link = link or self.link
        await settle()
        link.answer_all(**outputs)
        await settle()


@pytest.fixture
async def bench(clock: ManualClock) -> AsyncIterator[_Bench]:
    """Give an orchestrator; at the end every pool's invariant holds, and every worker ends."""
    bench = _Bench(clock, ScriptedExecutor())
    yield bench
    bench.orchestrator.check()
    await bench.orchestrator.stop()
    bench.orchestrator.check()
    assert all(link.is_over for link in bench.links)
    assert bench.orchestrator._history.in_progress() == []


@pytest.fixture
async def real() -> AsyncIterator[Orchestrator]:
    """Give an orchestrator over real workers; at the end no process of it is left."""
    async with asyncio.timeout(PATIENCE_S):
        async with Orchestrator() as orchestrator:
            yield orchestrator
            orchestrator.check()
        assert _worker_pids() == []


def _worker_pids() -> list[int]:
    """List the worker processes of this one."""
    children = psutil.Process().children()
    return [c.pid for c in children if "torchloom.worker" in c.cmdline()]


@pytest.fixture
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restart at once, so that no test waits."""
    monkeypatch.setattr(backoff, "_WAITS_S", (0.0,))


_STREAM = "a b c d e f g h"

FLOW = make_graph(model_node("n", text="$inputs.text"), outputs={"text": "$n.text"})


def _soon(call: object) -> asyncio.Future[Values]:
    return asyncio.ensure_future(call)  # type: ignore[call-overload, no-any-return]  # a coroutine


async def _raises(call: asyncio.Future[Values], kind: type[Exception]) -> str:
    with pytest.raises(kind) as failure:
        await call
    return str(failure.value)


# Models


async def test_serves_a_model(bench: _Bench) -> None:
    """A model that is added answers; the deployment's params are defaults for the caller's."""
    await bench.orchestrator.add_model(deploy("open_echo", params={"seed": 1, "top": 2}))
    call = _soon(bench.orchestrator.predict("echo", {"text": "a"}, {"top": 3}))
    await settle()
    (admit,) = bench.link.sent
    assert admit.work[0][1:3] == ({"text": "a"}, {"seed": 1, "top": 3})  # type: ignore[attr-defined]  # an Admit
    await bench.answer(text="A")
    assert await call == {"text": "A"}
    assert bench.orchestrator.is_ready
    assert repr(bench.orchestrator) == ("<Orchestrator <Pool echo@1: 0 queued, 0 running on cpu>>")


async def test_tells_how_long_a_call_waited_and_ran(bench: _Bench) -> None:
    """Whoever brings a meter finds one task in it."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    meter = Meter()
    call = _soon(bench.orchestrator.predict("echo", {"text": "a"}, {}, meter=meter))
    await settle()
    assert meter.num_tasks == 0
    await bench.answer(text="A")
    await call
    assert meter.num_tasks == 1
    assert meter.queue_s >= 0.0
    assert meter.run_s >= 0.0


async def test_adds_the_same_model_once(bench: _Bench) -> None:
    """The same again changes nothing; another under the same name and version is a conflict."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    await bench.orchestrator.add_model(deploy("open_echo"))
    assert len(bench.links) == 1
    with pytest.raises(Conflict, match="'echo@1' exists already"):
        await bench.orchestrator.add_model(deploy("open_echo", config={"other": 1}))


async def test_waits_for_a_model_that_another_caller_is_loading(bench: _Bench) -> None:
    """Whoever adds it meanwhile returns when it serves, or hears that it does not."""
    for is_good in (True, False):
        bench.executor.max_tasks = None
        name = f"good {is_good}"
        calls = [
            _soon(bench.orchestrator.add_model(deploy("open_echo", name=name))) for _ in range(2)
        ]
        await settle()
        assert not any(call.done() for call in calls)
        if is_good:
            bench.link.ready()
            await asyncio.gather(*calls)
        else:
            bench.link.refuse(ModelLoadError("no"))
            for call in calls:
                await _raises(call, ModelLoadError)
    assert [status.deployment.name for status in bench.orchestrator.models()] == ["good True"]


async def test_tells_how_loading_goes(bench: _Bench) -> None:
    """Progress comes with the label of the model, and its state says that it is loading."""
    bench.executor.max_tasks = None
    told: list[tuple[str, str, float | None]] = []
    loading = _soon(
        bench.orchestrator.add_model(deploy("open_echo"), lambda *what: told.append(what))
    )
    await settle()
    bench.link.progress("compiling", 0.25)
    assert told == [("echo@1 on auto", "compiling", 0.25)]
    assert bench.orchestrator.model("echo").state == "loading"
    assert not bench.orchestrator.is_ready
    bench.link.ready()
    await loading
    assert bench.orchestrator.model("echo").state == "ready"


async def test_goes_on_serving_the_old_version_while_the_new_one_loads(bench: _Bench) -> None:
    """A new version gets its first request when it is ready, and none if it does not load."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    old = bench.link
    bench.executor.max_tasks = None
    for is_good in (False, True):
        loading = _soon(bench.orchestrator.add_model(deploy("open_echo", version=2)))
        call = _soon(bench.orchestrator.predict("echo", {"text": "a"}, {}))
        await bench.answer(old, text="old")
        assert await call == {"text": "old"}
        if is_good:
            bench.link.ready()
            await loading
        else:
            bench.link.refuse(ModelLoadError("The weights are missing."))
            assert await _raises(loading, ModelLoadError) == "The weights are missing."
            assert [status.deployment.version for status in bench.orchestrator.models()] == [1]
    call = _soon(bench.orchestrator.predict("echo", {"text": "a"}, {}))
    await bench.answer(text="new")
    assert await call == {"text": "new"}


async def test_queues_requests_for_a_model_whose_only_version_loads(bench: _Bench) -> None:
    """Where nothing else can answer, a request waits for the model to be ready."""
    bench.executor.max_tasks = None
    loading = _soon(bench.orchestrator.add_model(deploy("open_echo")))
    call = _soon(bench.orchestrator.predict("echo", {"text": "a"}, {}))
    await settle()
    bench.link.ready()
    await loading
    await bench.answer(text="A")
    assert await call == {"text": "A"}


async def test_splits_requests_between_versions(bench: _Bench) -> None:
    """Weights share requests out; a named version is asked itself."""
    for version in (1, 2):
        await bench.orchestrator.add_model(deploy("open_echo", version=version))
    bench.orchestrator.set_model_traffic("echo", {1: 3.0, 2: 1.0})
    assert bench.orchestrator.model("echo", 1).weight == 0.75
    picked = Counter(bench.orchestrator.pick_model("echo").version for _ in range(40))
    assert picked == {1: 30, 2: 10}
    assert bench.orchestrator.pick_model("echo", 2).version == 2
    calls = [_soon(bench.orchestrator.predict("echo", {}, {}, version=2)) for _ in range(3)]
    await bench.answer(bench.links[1])
    await asyncio.gather(*calls)
    assert bench.links[0].batches == []


async def test_removes_a_model_after_what_it_has_accepted(bench: _Bench) -> None:
    """It drains first: requests go to the other version meanwhile, and the worker ends last."""
    for version in (1, 2):
        await bench.orchestrator.add_model(deploy("open_echo", version=version))
    first, second = bench.links
    call = _soon(bench.orchestrator.predict("echo", {"text": "a"}, {}))
    await settle()
    removing = _soon(bench.orchestrator.remove_model("echo", 2))
    await settle()
    other = _soon(bench.orchestrator.predict("echo", {"text": "b"}, {}))
    await bench.answer(first, text="from 1")
    assert await other == {"text": "from 1"}
    assert not removing.done()
    await bench.answer(second, text="from 2")
    assert await call == {"text": "from 2"}
    await removing
    assert (first.is_over, second.is_over) == (False, True)
    await bench.orchestrator.remove_model("echo")
    assert bench.orchestrator.models() == []
    with pytest.raises(UnknownModel):
        await bench.orchestrator.remove_model("echo")


async def test_removes_all_versions_at_once(bench: _Bench) -> None:
    """Without a version, everything of that name goes; twice at the same time does no harm."""
    for version in (1, 2):
        await bench.orchestrator.add_model(deploy("open_echo", version=version))
    call = _soon(bench.orchestrator.predict("echo", {}, {}))
    await settle()
    removals = [_soon(bench.orchestrator.remove_model("echo", grace_s=0.0)) for _ in range(2)]
    await asyncio.gather(*removals)
    assert await _raises(call, NotServing) == "The model is being stopped."
    assert all(link.is_over for link in bench.links)


async def test_refuses_to_remove_what_a_workflow_needs(bench: _Bench) -> None:
    """The last version of a model that a workflow names stays until the workflow is gone."""
    for version in (1, 2):
        await bench.orchestrator.add_model(deploy("open_echo", version=version))
    bench.orchestrator.add_workflow(FLOW)
    await bench.orchestrator.remove_model("echo", 2)
    with pytest.raises(Conflict, match="'echo' is used by 'flow@1'"):
        await bench.orchestrator.remove_model("echo")
    await bench.orchestrator.remove_workflow("flow")
    await bench.orchestrator.remove_model("echo")


async def test_refuses_to_remove_a_workflow_that_another_calls(bench: _Bench) -> None:
    """The last version that a sub-workflow node could run stays until its caller is gone."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    bench.orchestrator.add_workflow(FLOW)
    bench.orchestrator.add_workflow(_calling("caller", "flow"))
    with pytest.raises(Conflict, match="'flow' is called by 'caller@1'"):
        await bench.orchestrator.remove_workflow("flow")
    await bench.orchestrator.remove_workflow("caller")
    await bench.orchestrator.remove_workflow("flow")


async def test_can_be_told_to_remove_a_model_that_is_still_loading(bench: _Bench) -> None:
    """Its worker is killed, and whoever waits for it is told."""
    bench.executor.max_tasks = None
    loading = _soon(bench.orchestrator.add_model(deploy("open_echo")))
    await settle()
    await bench.orchestrator.remove_model("echo")
    assert "was stopped while it was loading" in await _raises(loading, NotServing)
    assert bench.link.is_killed
    assert bench.orchestrator.models() == []


async def test_leaves_nothing_of_a_model_whose_loading_is_cancelled(bench: _Bench) -> None:
    """A caller who leaves while a model loads takes it along."""
    bench.executor.max_tasks = None
    loading = _soon(bench.orchestrator.add_model(deploy("open_echo")))
    await settle()
    loading.cancel()
    await _raises(loading, asyncio.CancelledError)
    assert bench.orchestrator.models() == []
    assert bench.link.is_over


async def test_scales_a_model(bench: _Bench) -> None:
    """More replicas, then fewer."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    await bench.orchestrator.scale_model("echo", replicas=ReplicaPolicy(min=3, max=3))
    assert len(bench.orchestrator.model("echo").replicas) == 3
    await bench.orchestrator.scale_model("echo", 1, replicas=ReplicaPolicy(min=1, max=1))
    assert sum(not link.is_over for link in bench.links) == 1


async def test_runs_inline_models_with_the_other_executor(clock: ManualClock) -> None:
    """What is too small for a hop is started by the inline executor."""
    outer, inner = ScriptedExecutor(), ScriptedExecutor()
    async with Orchestrator(executor=outer, inline_executor=inner, now=clock) as orchestrator:
        await orchestrator.add_model(deploy("open_echo", is_inline=True))
        assert (len(outer.links), len(inner.links)) == (0, 1)
    assert inner.link.is_asked_to_close


# Workflows


async def test_takes_workflows_in_and_finds_them(bench: _Bench) -> None:
    """The same source again changes nothing; another is a conflict; names are looked up."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    graphs = [replace(FLOW, version=version, source="a") for version in (1, 2)]
    for graph in graphs:
        bench.orchestrator.add_workflow(graph)
        bench.orchestrator.add_workflow(replace(graph))
    with pytest.raises(Conflict, match="'flow@2' exists already"):
        bench.orchestrator.add_workflow(replace(graphs[1], source="b"))
    assert bench.orchestrator.workflows() == graphs
    assert bench.orchestrator.workflow("flow") is graphs[1]
    assert bench.orchestrator.pick_workflow("flow", 1) is graphs[0]
    with pytest.raises(UnknownWorkflow, match="Did you mean 'flow'"):
        bench.orchestrator.pick_workflow("flaw")
    bench.orchestrator.set_workflow_traffic("flow", {1: 1.0, 2: 1.0})
    assert bench.orchestrator.workflow_weight("flow", 1) == 0.5
    picked = Counter(bench.orchestrator.pick_workflow("flow").version for _ in range(10))
    assert picked == {1: 5, 2: 5}


async def test_refuses_a_workflow_that_calls_what_is_not_there(bench: _Bench) -> None:
    """Unknown models and workflows are named, with the nearest that exists."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    with pytest.raises(UnknownModel, match=r"unknown model 'ecko'\. Did you mean 'echo'\?"):
        bench.orchestrator.add_workflow(make_graph(model_node("n", "ecko")))
    with pytest.raises(UnknownWorkflow):
        bench.orchestrator.add_workflow(_calling("outer", "inner"))
    assert bench.orchestrator.workflows() == []


def _calling(name: str, *workflows: str, version: int = 1, called: int | None = None) -> Graph:
    nodes = [
        Node(name=f"n{i}", call=WorkflowCall(workflow, called), inputs=bind(text="$inputs.text"))
        for i, workflow in enumerate(workflows)
    ]
    outputs: dict[str, object] = {"text": "$n0.text"} if nodes else {"text": "$inputs.text"}
    return make_graph(*nodes, outputs=outputs, name=name, version=version, source=f"{version}")


async def test_refuses_workflows_that_would_call_themselves(bench: _Bench) -> None:
    """However long the way round: such runs would never end. Calling an older version is fine."""
    add = bench.orchestrator.add_workflow
    add(_calling("a"))
    add(_calling("b", "a"))
    add(_calling("c", "b", "a"))
    with pytest.raises(CyclicGraph, match=r"'a@2' would call itself: a@2 → c@1 → b@1 → a@2\."):
        add(_calling("a", "c", version=2))
    with pytest.raises(CyclicGraph, match="b@2 → b@2"):
        add(_calling("b", "b", version=2))
    add(_calling("b", "b", version=2, called=1))
    assert len(bench.orchestrator.workflows()) == 4


async def test_removes_a_workflow_after_its_runs(bench: _Bench) -> None:
    """No new run begins; those that are under way end by themselves within the grace."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    bench.orchestrator.add_workflow(FLOW)
    run = bench.orchestrator.start_run(FLOW, {"text": "a"})
    removing = _soon(bench.orchestrator.remove_workflow("flow", 1))
    await settle()
    with pytest.raises(UnknownWorkflow):
        bench.orchestrator.pick_workflow("flow")
    assert not removing.done()
    await bench.answer(text="A")
    await removing
    assert await run.result() == {"text": "A"}


async def test_cancels_the_runs_of_a_removed_workflow_after_the_grace(bench: _Bench) -> None:
    """A run that does not end in time is cancelled."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    bench.orchestrator.add_workflow(FLOW)
    run = bench.orchestrator.start_run(FLOW, {"text": "a"})
    await bench.orchestrator.remove_workflow("flow", grace_s=0.0)
    await run.wait()
    assert run.state is RunState.CANCELLED


# Runs


async def test_batches_across_runs_and_across_workflows(bench: _Bench) -> None:
    """Two workflows that use one model share its pool: their tasks are one batch."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    other = make_graph(model_node("m", text="$inputs.text"), outputs={"out": "$m.text"}, name="o")
    runs = [
        bench.orchestrator.start_run(FLOW, {"text": "a"}),
        bench.orchestrator.start_run(FLOW, {"text": "b"}),
        bench.orchestrator.start_run(other, {"text": "c"}),
    ]
    direct = _soon(bench.orchestrator.predict("echo", {"text": "d"}, {}))
    await settle()
    assert sorted(map(str, bench.link.texts[0])) == ["a", "b", "c", "d"]
    await bench.answer(text="x")
    results = [await run.result() for run in runs]
    assert results == [{"text": "x"}, {"text": "x"}, {"out": "x"}]
    assert await direct == {"text": "x"}


async def test_keeps_the_newest_runs(bench: _Bench) -> None:
    """Runs can be looked up until they leave the history."""
    runs = []
    for number in range(7):
        runs.append(bench.orchestrator.start_run(_calling("a"), {"text": number}))
        await runs[-1].wait()
    assert bench.orchestrator.runs() == runs[:1:-1]
    assert bench.orchestrator.run(runs[6].id) is runs[6]
    with pytest.raises(UnknownRun):
        bench.orchestrator.run(runs[0].id)


async def test_runs_a_workflow_as_a_node(bench: _Bench) -> None:
    """A sub-run takes tenant, priority and what is left of the time; it is not in the history."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    bench.orchestrator.add_workflow(FLOW)
    outer = _calling("outer", "flow")
    bench.orchestrator.add_workflow(outer)
    options = RunOptions(timeout_s=60.0, priority=4, tenant="me")
    run = bench.orchestrator.start_run(outer, {"text": "a"}, options=options)
    await settle()
    (task,) = bench.orchestrator._pools.get("echo").replicas[0].holding.tasks.values()
    assert (task.priority, task.tenant, task.deadline) == (4, "me", 1060.0)
    await bench.answer(text="A")
    assert await run.result() == {"text": "A"}
    assert bench.orchestrator.runs() == [run]


async def test_counts_the_tokens_of_a_run(bench: _Bench) -> None:
    """What answers took is summed by model, through sub-workflows too; one that is kept is free."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    bench.orchestrator.add_workflow(FLOW)
    kept = replace(model_node("n", text="$inputs.text"), cache=CachePolicy(ttl_s=60.0))
    outer = make_graph(
        kept,
        Node(name="m", call=WorkflowCall("flow"), inputs={"text": to_binding("$n.text")}),
        outputs={"text": "$m.text"},
    )
    for expected in ({"prompt": 6, "completion": 2}, {"prompt": 3, "completion": 1}):
        run = bench.orchestrator.start_run(outer, {"text": "a"})
        for _ in range(expected["completion"]):
            await bench.answer(text="A", usage={"prompt": 3, "completion": 1})
        await run.result()
        assert run.usage == {"echo": expected}


async def test_fails_with_the_node_of_a_sub_workflow(bench: _Bench) -> None:
    """The error names the way down, and keeps the status of its cause."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    bench.orchestrator.add_workflow(FLOW)
    run = bench.orchestrator.start_run(_calling("outer", "flow"), {"text": "a"})
    await settle()
    bench.link.fail(bench.link.batches[0][0], InvalidInput("not this"))
    with pytest.raises(NodeFailed, match="Node 'n0': Node 'n': not this") as failure:
        await run.result()
    assert failure.value.status == 422


async def test_cancels_down_to_the_worker_through_a_sub_workflow(bench: _Bench) -> None:
    """A run that is cancelled takes its sub-runs and their tasks along."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    bench.orchestrator.add_workflow(FLOW)
    run = bench.orchestrator.start_run(_calling("outer", "flow"), {"text": "a"})
    await settle()
    run.cancel()
    await run.wait()
    await settle()
    assert bench.link.cancelled == bench.link.batches[0]
    counter = bench.orchestrator.stats.counter("runs_in_progress", "flow")
    assert counter.value == 0


async def test_cancels_a_call_that_runs_share_with_the_last_of_them(bench: _Bench) -> None:
    """Identical cached calls are one task; it is cancelled when no run waits for it any more."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    node = replace(FLOW.nodes["n"], cache=CachePolicy())
    graph = make_graph(node, outputs={"text": "$n.text"})
    runs = [bench.orchestrator.start_run(graph, {"text": "a"}) for _ in range(3)]
    await settle()
    assert bench.link.texts == [["a"]]
    for run in runs:
        assert bench.link.cancelled == []
        run.cancel()
        await settle()
    assert bench.link.cancelled == bench.link.batches[0]


async def test_lets_items_of_a_foreach_wait_for_space(bench: _Bench) -> None:
    """One request's items are not refused for their number, be they tasks or whole workflows."""
    await bench.orchestrator.add_model(deploy("open_echo", queue=QueuePolicy(max_size=2)))
    bench.orchestrator.add_workflow(FLOW)
    items = [str(number) for number in range(20)]
    for call in (ModelCall("echo"), WorkflowCall("flow")):
        node = Node(
            name="each", call=call, inputs=bind(text="$item"), foreach=to_binding("$inputs.items")
        )
        graph = make_graph(node, outputs={"texts": "$each.text"})
        run = bench.orchestrator.start_run(graph, {"items": items})
        while not run.is_over:
            await settle()
            for task_id, text in zip(bench.link.batches[-1], bench.link.texts[-1], strict=True):
                bench.link.answer(task_id, text=text)
        assert await run.result() == {"texts": items}


async def test_refuses_or_waits_when_the_queue_is_full(bench: _Bench) -> None:
    """The model's own policy says which: refused with the time to try again, or taken in later."""
    for overflow in ("reject", "wait"):
        queue = QueuePolicy(max_size=1, overflow=overflow)  # type: ignore[arg-type]  # one of the literals
        await bench.orchestrator.add_model(deploy("open_echo", name=overflow, queue=queue))
        calls = []
        for text in "abc":
            calls.append(_soon(bench.orchestrator.predict(overflow, {"text": text}, {})))
            await settle()
        assert bench.link.texts == [["a"]]
        if overflow == "reject":
            with pytest.raises(QueueFull) as refusal:
                await calls.pop()
            assert refusal.value.retry_after_s is not None
        for call in calls:
            await bench.answer(text="x")
            assert await call == {"text": "x"}


# Single calls


async def test_cancels_the_task_of_a_caller_who_leaves(bench: _Bench) -> None:
    """Cancelling a prediction reaches the worker."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    call = _soon(bench.orchestrator.predict("echo", {"text": "a"}, {}))
    await settle()
    call.cancel()
    await _raises(call, asyncio.CancelledError)
    assert bench.link.cancelled == bench.link.batches[0]


async def test_gives_a_call_up_when_its_time_is_over(bench: _Bench) -> None:
    """The caller hears of the deadline, and the worker of the cancellation."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    options = RunOptions(timeout_s=0.001, priority=1, tenant="me")
    call = _soon(bench.orchestrator.predict("echo", {"text": "a"}, {}, options=options))
    assert await _raises(call, DeadlineExceeded) == "No answer within 0.001 s."
    await settle()
    assert bench.link.cancelled == [i for batch in bench.link.batches for i in batch]


async def test_gives_chunks_as_they_come(bench: _Bench) -> None:
    """A sink sees each chunk before the answer."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    seen: list[Values] = []
    call = _soon(bench.orchestrator.predict("echo", {"text": "a"}, {}, sink=seen.append))
    await settle()
    bench.link.chunk(bench.link.batches[0][0], "A")
    assert seen == [{"text": "A"}]
    await bench.answer(text="A")
    await call


async def test_knows_no_model_of_that_name(bench: _Bench) -> None:
    """An unknown model is told at once."""
    await _raises(_soon(bench.orchestrator.predict("echo", {}, {})), UnknownModel)


# Drain and stop


async def test_drains_all_that_was_accepted(bench: _Bench) -> None:
    """New work is refused; runs with nodes still to come, and single calls, are finished."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    chain = make_graph(
        model_node("a", text="$inputs.text"),
        model_node("b", text="$a.text"),
        outputs={"text": "$b.text"},
    )
    run = bench.orchestrator.start_run(chain, {"text": "a"})
    call = _soon(bench.orchestrator.predict("echo", {"text": "x"}, {}))
    await settle()
    draining = _soon(bench.orchestrator.drain(100.0))
    await settle()
    assert bench.orchestrator.is_draining
    assert not bench.orchestrator.is_ready
    with pytest.raises(NotServing):
        bench.orchestrator.start_run(chain, {"text": "b"})
    await _raises(_soon(bench.orchestrator.predict("echo", {}, {})), NotServing)
    await _raises(_soon(bench.orchestrator.add_model(deploy("open_echo", version=2))), NotServing)
    await bench.answer(text="1")
    assert not draining.done()
    await bench.answer(text="2")
    await draining
    assert await run.result() == {"text": "2"}
    assert await call == {"text": "1"}


async def test_drains_no_longer_than_the_grace(bench: _Bench) -> None:
    """What does not end in time is left to `stop`."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    run = bench.orchestrator.start_run(FLOW, {"text": "a"})
    await bench.orchestrator.drain(0.0)
    assert not run.is_over


async def test_stops_everything(bench: _Bench) -> None:
    """Runs are cancelled, calls are told, workers end, models that are loading too."""
    await bench.orchestrator.add_model(deploy("open_echo"))
    run = bench.orchestrator.start_run(FLOW, {"text": "a"})
    call = _soon(bench.orchestrator.predict("echo", {"text": "b"}, {}))
    bench.executor.max_tasks = None
    loading = _soon(bench.orchestrator.add_model(deploy("open_echo", name="late")))
    await settle()
    just_started = bench.orchestrator.start_run(FLOW, {"text": "c"})
    await bench.orchestrator.stop()
    assert {run.state, just_started.state} == {RunState.CANCELLED}
    await _raises(call, NotServing)
    await _raises(loading, NotServing)
    assert all(link.is_over for link in bench.links)


async def test_shows_what_there_is_as_series(bench: _Bench) -> None:
    """Gauges are read from the pools as they stand, next to what was counted."""
    await bench.orchestrator.add_model(deploy("open_echo", replicas=ReplicaPolicy(min=2, max=2)))
    calls = []
    for text in "abcd":
        calls.append(_soon(bench.orchestrator.predict("echo", {"text": text}, {})))
        await settle()
    series = {(s.metric.name, *s.labels): s.value for s in bench.orchestrator.snapshot()}
    assert series["queue_depth", "echo", "1"] == 2
    assert series["tasks_in_flight", "echo", "1", "cpu"] == 2
    assert series["replicas", "echo", "1", "ready"] == 2
    assert series["queue_seconds", "echo", "1"] == 0.0
    for call in calls:
        call.cancel()
    await settle()


# Engines in threads


async def test_fails_one_bad_input_alone(real: Orchestrator) -> None:
    """Sixteen requests in one batch, one of them poison: fifteen are answered."""
    config = {"max_tasks": 16}
    await real.add_model(deploy("open_poisonable", config=config, is_inline=True))
    texts = [*(str(number) for number in range(15)), "poison"]
    calls = [_soon(real.predict("echo", {"text": text}, {})) for text in texts]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[-1], TaskFailed)
    assert "this is poison" in str(answers[-1])
    assert [answer["text"] for answer in answers[:-1]] == texts[:-1]  # type: ignore[index]  # answers
    sizes = next(s for s in real.snapshot() if s.metric.name == "batch_size")
    assert (sizes.counts[0], sizes.counts[4]) == (16, 1)


async def test_forms_batches_while_the_engine_is_busy(
    real: Orchestrator, gate: Gate, gate_name: str
) -> None:
    """With a real worker thread: one goes alone, those that came meanwhile go together."""
    await real.add_model(deploy("open_gated", config={"gate": gate_name}, is_inline=True))
    runs = [real.start_run(FLOW, {"text": "first"})]
    await gate.wait_entered()
    runs += [real.start_run(FLOW, {"text": text}) for text in "abcde"]
    await settle()
    gate.let_go(2)
    assert [await run.result() for run in runs] == [{"text": t} for t in ("first", *"abcde")]
    assert [len(batch) for batch in gate.batches] == [1, 5]


@pytest.mark.usefixtures("worker_path")
async def test_tells_engines_settings_and_again_after_a_crash(real: Orchestrator) -> None:
    """In worker processes: all are told, a refusal changes nothing, a new worker knows."""
    replicas = ReplicaPolicy(min=2, max=2)
    await real.add_model(deploy("open_adjustable", devices=(Device("cpu"),), replicas=replicas))
    await real.apply_setting("echo", 1, key="speed", value=3)
    with pytest.raises(InvalidInput, match="Too fast"):
        await real.apply_setting("echo", 1, key="speed", value=99)
    before = await asyncio.gather(*(real.predict("echo", {}, {}) for _ in range(8)))
    os.kill(_worker_pids()[0], signal.SIGKILL)
    pool = real._pools.get("echo")
    while sum(each.restarts for each in pool.replicas if each.is_idle) < 1:  # noqa: ASYNC110 - a process starts
        await asyncio.sleep(0.01)
    after = await asyncio.gather(*(real.predict("echo", {}, {}) for _ in range(16)))

    assert all(answer["told"] == {"speed": 3} for answer in (*before, *after))
    assert real.model("echo").settings == {"speed": 3}
    with pytest.raises(UnknownModel):
        await real.apply_setting("eco", 1, key="speed", value=3)


@pytest.mark.parametrize("how", ["predict", "run", "sub-workflow", "cached"])
async def test_stops_the_steps_of_a_stream_whose_caller_has_left(
    real: Orchestrator, gate: Gate, gate_name: str, how: str
) -> None:
    """Whatever the way: after the cancellation the engine makes no step for it."""
    await real.add_model(deploy("open_streamer", config={"gate": gate_name}, is_inline=True))
    cancel = _start_stream(real, how)
    for _ in range(2):
        await gate.wait_entered()
        gate.let_go()
    await gate.wait_entered()
    cancel()
    await until(lambda: bool(real._pools.get("echo").replicas[0].holding._leaving.timers))
    gate.let_go()
    other = _soon(real.predict("echo", {"text": "x"}, {}))
    gate.let_go(100)
    await other
    texts = [inputs["text"] for batch in gate.batches for inputs in batch]
    assert texts == [*[_STREAM] * 3, "x", "x"]


def _start_stream(orchestrator: Orchestrator, how: str) -> Callable[[], object]:
    """Start a call that streams; give what cancels it."""
    inputs = {"text": _STREAM}
    if how == "predict":
        return _soon(orchestrator.predict("echo", inputs, {}, sink=lambda _: None)).cancel
    node = FLOW.nodes["n"]
    if how == "cached":
        node = replace(node, cache=CachePolicy())
    flow = make_graph(node, outputs={"text": "$n.text"}, stream=("n",))
    if how == "sub-workflow":
        orchestrator.add_workflow(flow)
        flow = _calling("outer", "flow")
    return orchestrator.start_run(flow, inputs).cancel


async def test_tells_a_stream_of_an_engine_in_order(real: Orchestrator) -> None:
    """Chunks of many runs that share a continuous engine come to each run in its order."""
    await real.add_model(deploy("open_streamer", config={"max_tasks": 8}, is_inline=True))
    graph = make_graph(FLOW.nodes["n"], outputs={"text": "$n.text"}, stream=("n",))
    texts = [" ".join(f"{word}{number}" for word in "abcdefg") for number in range(20)]
    runs = [real.start_run(graph, {"text": text}) for text in texts]

    async def read(run: Run) -> str:
        events = [event async for event in run.events()]
        return " ".join(str(e.data["text"]) for e in events if e.type == "node.chunk")

    assert await asyncio.gather(*(read(run) for run in runs)) == texts
    tokens = {s.labels: s.value for s in real.snapshot() if s.metric.name == "tokens"}
    assert tokens == {("echo", "1", "completion"): 140}


@pytest.mark.parametrize(
    ("factory", "text", "kind"),
    [
        ("open_miscounting", "a", BatchContractError),
        ("open_chatter", "fail", TaskFailed),
        ("open_echo", "", InvalidInput),
    ],
)
async def test_tells_what_an_engine_gets_wrong(
    real: Orchestrator, factory: str, text: str, kind: type[Exception]
) -> None:
    """Each fault of an engine or an input has its own error; the engine goes on serving."""
    await real.add_model(deploy(factory, is_inline=True))
    await _raises(_soon(real.predict("echo", {"text": text}, {})), kind)
    assert real.model("echo").state == "ready"


# Engines in processes


def _kill(orchestrator: Orchestrator, number: int = 0) -> None:
    pid = orchestrator.model("echo").replicas[number].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("worker_path")
@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("open_broken", "The weights are missing."),
        ("open_crashing", "The worker of model 'echo@1' ended: exit code 7."),
    ],
)
async def test_leaves_no_process_of_a_model_that_does_not_load(
    real: Orchestrator, factory: str, reason: str
) -> None:
    """It raises why, is not listed, and its processes are gone when the caller hears of it."""
    deployment = deploy(factory, replicas=ReplicaPolicy(min=2, max=2))
    assert await _raises(_soon(real.add_model(deployment)), ModelLoadError) == reason
    assert real.models() == []
    assert _worker_pids() == []


@pytest.mark.usefixtures("worker_path")
async def test_kills_the_process_of_a_model_whose_loading_is_cancelled(real: Orchestrator) -> None:
    """A load that hangs ends with its caller, at once."""
    is_stuck = asyncio.Event()
    loading = _soon(real.add_model(deploy("open_stuck"), lambda *_: is_stuck.set()))
    await is_stuck.wait()
    assert len(_worker_pids()) == 1
    loading.cancel()
    await _raises(loading, asyncio.CancelledError)
    assert _worker_pids() == []


@pytest.mark.usefixtures("worker_path")
async def test_loses_nothing_when_workers_are_killed_under_load(real: Orchestrator) -> None:
    """Kill -9, twice, among a thousand requests: every one is answered."""
    await real.add_model(
        deploy("open_killable", config={"max_tasks": 4}, replicas=ReplicaPolicy(min=2, max=2))
    )
    texts = [str(number) for number in range(1000)]
    calls = [_soon(real.predict("echo", {"text": text}, {})) for text in texts]
    for number, done in enumerate(asyncio.as_completed(calls)):
        await done
        if number in {10, 40}:
            _kill(real, number % 20 // 10)
    assert [(await call)["text"] for call in calls] == texts
    restarts = [replica.restarts for replica in real.model("echo").replicas]
    assert sum(restarts) in {1, 2}
    tasks = {s.labels: s.value for s in real.snapshot() if s.metric.name == "tasks"}
    assert tasks == {("echo", "1", "done"): 1000}


@pytest.mark.usefixtures("worker_path")
async def test_finds_the_input_that_kills_the_process(real: Orchestrator) -> None:
    """It fails after its third death; its fifteen neighbours are answered."""
    await real.add_model(deploy("open_killable", config={"max_tasks": 16}))
    texts = [*(str(number) for number in range(15)), "kill"]
    calls = [_soon(real.predict("echo", {"text": text}, {})) for text in texts]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[-1], WorkerDied)
    assert "signal SIGKILL) again and again" in str(answers[-1])
    assert [answer["text"] for answer in answers[:-1]] == texts[:-1]  # type: ignore[index]  # answers


@pytest.mark.usefixtures("worker_path")
async def test_fails_a_stream_whose_worker_dies_in_the_middle(real: Orchestrator) -> None:
    """What was shown cannot be taken back: a clear error. What was not shown is run again."""
    await real.add_model(deploy("open_streamer"))
    graph = make_graph(
        replace(model_node("n", text="a b c d", die_after=3), retry=RetryPolicy(attempts=3)),
        outputs={"text": "$n.text"},
        stream=("n",),
    )
    run = real.start_run(graph, {})
    async for event in run.events():
        if event.type == "node.chunk" and event.data["text"] == "b":
            break
    unseen = _soon(real.predict("echo", {"text": "x y"}, {}))
    await settle()
    _kill(real)
    with pytest.raises(NodeFailed, match="after it had begun to answer") as failure:
        await run.result()
    assert failure.value.status == 503
    assert (await unseen)["text"] == "x y"


@pytest.mark.usefixtures("worker_path")
async def test_says_why_a_worker_cannot_start_again(
    real: Orchestrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model has failed, for a reason that can be read; requests wait for it or give up."""
    monkeypatch.setattr(backoff, "_WAITS_S", (0.0, 1000.0))
    opened = asyncio.Semaphore(0)
    deployment = deploy("open_once", config={"mark": str(tmp_path / "opened")})
    await real.add_model(deployment, lambda *_: opened.release())
    while not opened.locked():
        await opened.acquire()
    _kill(real)
    await opened.acquire()
    (replica,) = real._pools.get("echo").replicas
    assert replica._link is not None
    await replica._link.wait()
    status = real.model("echo")
    assert (status.state, status.replicas[0].state) == ("failed", "waiting")
    assert (status.replicas[0].error, status.replicas[0].pid) == ("The disk has gone.", None)
    assert not real.is_ready
    options = RunOptions(timeout_s=0.01)
    call = _soon(real.predict("echo", {"text": "a"}, {}, options=options))
    await _raises(call, DeadlineExceeded)


@pytest.mark.usefixtures("worker_path")
async def test_kills_an_engine_that_hangs_on_a_cancelled_task(
    real: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that never ends costs its worker, once its caller has left; others are answered."""
    monkeypatch.setattr(leaving, "HANG_S", 0.0)
    await real.add_model(deploy("open_killable", config={"max_tasks": 1}))
    hung = _soon(real.predict("echo", {"text": "hang"}, {}))
    await settle()
    waiting = _soon(real.predict("echo", {"text": "a"}, {}))
    hung.cancel()
    assert (await waiting)["text"] == "a"
    assert real.model("echo").replicas[0].restarts == 1


@pytest.mark.usefixtures("worker_path")
async def test_kills_an_engine_whose_step_does_not_end(real: Orchestrator) -> None:
    """Whoever waits for that step is told, once; its worker is started anew, others go on."""
    await real.add_model(deploy("open_killable", config={"max_tasks": 1}, step_timeout_s=1.0))
    await real.add_model(deploy("open_echo", name="other"))
    with pytest.raises(WorkerDied, match=r"had not ended a step within 1\.0 s"):
        await real.predict("echo", {"text": "hang"}, {})
    assert (await real.predict("echo", {"text": "a"}, {}))["text"] == "a"
    assert (await real.predict("other", {"text": "b"}, {}))["text"] == "b"
    restarts = [real.model(name).replicas[0].restarts for name in ("echo", "other")]
    assert restarts[1] == 0
    assert restarts[0] >= 1


@pytest.mark.usefixtures("worker_path")
async def test_serves_runs_by_processes(real: Orchestrator) -> None:
    """A graph over processes: fan out, gather, and bytes and numbers unharmed on the way."""
    await real.add_model(deploy("open_echo", replicas=ReplicaPolicy(min=2, max=2)))
    graph = make_graph(
        replace(model_node("each", text="$item", data=b"\x00\xff"), foreach=Constant(["a", "b"])),
        model_node("join", texts="$each.text", data="$each.data"),
        outputs={"texts": "$join.texts", "data": "$join.data", "batch": "$join.batch"},
    )
    run = real.start_run(graph, {})
    assert await run.result() == {"texts": ["a", "b"], "data": [b"\x00\xff"] * 2, "batch": 1}
    assert run.timings.critical_path == ("each", "join")
    assert run.timings.nodes["each"].num_tasks == 2


def test_asks_for_a_loop_only_when_it_works() -> None:
    """The constructor does nothing."""
    assert repr(Orchestrator()) == "<Orchestrator >"


@pytest.mark.usefixtures("worker_path")
async def test_goes_on_beside_a_worker_that_is_killed_in_mid_batch(tmp_path: Path) -> None:
    """Two real workers, kill -9 on the one at work: the other does what it had."""
    mark = tmp_path / "mark"
    async with Orchestrator() as orchestrator:
        await orchestrator.add_model(
            deploy(
                "open_holding",
                config={"mark": str(mark)},
                devices=(Device("cpu"),),
                replicas=ReplicaPolicy(min=2, max=2),
            )
        )
        asked = asyncio.ensure_future(orchestrator.predict("echo", {"text": "hold"}, {}))
        async with asyncio.timeout(PATIENCE_S):
            while not mark.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.01)
        killed = int(mark.read_text())
        os.kill(killed, signal.SIGKILL)
        mark.unlink()
        async with asyncio.timeout(PATIENCE_S):
            while not mark.exists():  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
        mark.unlink()
        answer = await asked
        orchestrator.check()
    assert answer["pid"] != killed


@pytest.mark.usefixtures("worker_path")
async def test_fetches_and_loads_in_a_process_of_its_own(real: Orchestrator) -> None:
    """A model that is fetched first is loaded within the memory that there is, or not at all."""
    real.memory.budgets = {"cpu": 1 << 40}
    prepare = deploy("fetch").factory
    await real.add_model(deploy("open_echo", prepare=prepare))
    assert (await real.predict("echo", {"text": "a"}, {}))["text"] == "a"
    real.memory.budgets = {"cpu": real.memory.used()["cpu"] + 3}
    with pytest.raises(OutOfMemory, match="Model 'large@1' needs"):
        await real.add_model(deploy("open_echo", name="large", prepare=prepare))
    assert [m.deployment.name for m in real.models()] == ["echo"]


@pytest.mark.usefixtures("worker_path")
async def test_does_not_start_on_some_of_its_devices(real: Orchestrator) -> None:
    """A device that is not there fails the model, with its own words; the others are given back."""
    devices = (Device("cpu"), Device("cuda", "7"))
    with pytest.raises(DeviceUnavailable, match="There is no device 'cuda:7' here"):
        await real.add_model(deploy("open_on_cpu", devices=devices))
    assert real.models() == []
