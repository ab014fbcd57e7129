"""Mirror: copies of calls for shadow versions, over workers that the test plays."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import deploy
from loom_fakes.graphs import bind, make_graph, model_node
from loom_fakes.scripted import ScriptedExecutor, ScriptedLink, settle, until

from torchloom import mirror
from torchloom.engine import Values
from torchloom.errors import NotServing, QueueFull, TaskFailed
from torchloom.graph import Node, WorkflowCall
from torchloom.memory import Memory
from torchloom.orchestrator import Orchestrator
from torchloom.policy import CachePolicy, QueuePolicy
from torchloom.run_options import RunOptions
from torchloom.traffic import Shadow
from torchloom.wire import Admit


class _Bench:
    """Two versions of a model, of which the second gets copies of what the first answers."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.executor = ScriptedExecutor()
        self.orchestrator = Orchestrator(
            executor=self.executor, memory=Memory(can_evict=True), now=clock
        )

    async def begin(self, percent: float = 100.0, **options: object) -> None:
        for version in (1, 2):
            await self.orchestrator.add_model(deploy("open_echo", version=version, **options))
        shadow = Shadow(version=2, percent=percent)
        self.orchestrator.set_model_traffic("echo", {1: 1.0}, shadow)

    @property
    def served(self) -> ScriptedLink:
        return self.executor.links[0]

    @property
    def shadow(self) -> ScriptedLink:
        return self.executor.links[1]

    def ask(self, text: str, **call: object) -> asyncio.Task[Values]:
        return asyncio.ensure_future(
            self.orchestrator.predict("echo", {"text": text}, {}, **call)  # type: ignore[arg-type]  # tests give any
        )

    def counts(self, noun: str = "tasks") -> dict[str, float]:
        """Give how many ended in each way: `shadow done`."""
        found = self.orchestrator.stats.snapshot()
        return {
            " ".join(series.labels[-2:]): series.value
            for series in found
            if series.metric.name == f"shadow_{noun}"
        }

    def seconds(self, noun: str = "task") -> dict[str, float]:
        """Give how long those that were done took, by version and role."""
        found = self.orchestrator.stats.snapshot()
        return {
            " ".join(series.labels[-2:]): series.value
            for series in found
            if series.metric.name == f"shadow_{noun}_seconds"
        }


@pytest.fixture
async def bench(clock: ManualClock) -> AsyncIterator[_Bench]:
    """Give a bench; at the end every pool's invariant holds, and no worker is left."""
    bench = _Bench(clock)
    yield bench
    bench.orchestrator.check()
    await bench.orchestrator.stop()
    bench.orchestrator.check()
    assert all(link.is_over for link in bench.executor.links)


async def test_gives_a_share_of_the_calls_to_the_shadow_too(bench: _Bench) -> None:
    """The caller gets the answer of the version that serves, whatever the shadow says."""
    await bench.begin(percent=50.0)
    for text in ("a", "b", "c", "d"):
        call = bench.ask(text)
        await settle()
        bench.served.answer_all(text=text.upper())
        if bench.shadow.batches:
            bench.shadow.answer_all(text="nonsense")
        assert await call == {"text": text.upper()}

    assert [batch for texts in bench.served.texts for batch in texts] == ["a", "b", "c", "d"]
    assert [batch for texts in bench.shadow.texts for batch in texts] == ["b", "d"]
    await settle()
    assert bench.counts() == {"served done": 2, "shadow done": 2}


async def test_copies_a_call_that_names_its_version_too(bench: _Bench) -> None:
    """Routes choose a version before they call; the shadow gets none of what it answers itself."""
    await bench.begin()
    first, own = bench.ask("a", version=1), bench.ask("b", version=2)
    await settle()
    bench.served.answer_all(text="A")
    bench.shadow.answer_all(text="S")
    await settle()

    assert await first == {"text": "A"}
    assert await own == {"text": "S"}
    assert sorted(text for texts in bench.shadow.texts for text in texts) == ["a", "b"]
    assert len(bench.served.texts) == 1


async def test_tells_nobody_of_a_shadow_that_fails_or_is_slow(
    bench: _Bench, clock: ManualClock
) -> None:
    """Its errors and its time are counted apart, with those of the same calls where they served."""
    await bench.begin()
    first = bench.ask("a")
    await settle()
    clock.advance(1.0)
    bench.served.answer_all(text="A")
    assert await first == {"text": "A"}
    assert bench.counts() == {"served done": 1}, "the copy is still on its way"
    clock.advance(2.0)
    bench.shadow.answer_all(text="slow")
    await settle()
    assert bench.counts() == {"served done": 1, "shadow done": 1}
    assert bench.seconds() == {"1 served": 1.0, "2 shadow": 3.0}

    second = bench.ask("b")
    await settle()
    bench.shadow.fail(bench.shadow.batches[-1][0], TaskFailed("The new one cannot."))
    await settle()
    assert not second.done()
    bench.served.answer_all(text="B")
    assert await second == {"text": "B"}
    await settle()
    assert bench.counts() == {"served done": 2, "shadow done": 1, "shadow failed": 1}


async def test_counts_what_fails_where_it_serves(bench: _Bench) -> None:
    """A shadow may be the better one: its copy goes on."""
    await bench.begin()
    call = bench.ask("a")
    await settle()
    bench.served.fail(bench.served.batches[-1][0])
    with pytest.raises(TaskFailed):
        await call
    bench.shadow.answer_all(text="A")
    await settle()

    assert bench.counts() == {"served failed": 1, "shadow done": 1}


async def test_gives_the_shadow_no_listener(bench: _Bench) -> None:
    """Of a call that is streamed, the copy makes no chunks."""
    await bench.begin()
    chunks: list[Values] = []
    call = bench.ask("a", sink=chunks.append)
    await settle()
    ((_, _, _, is_streamed),) = next(f for f in bench.served.sent if isinstance(f, Admit)).work
    ((_, _, _, is_copied),) = next(f for f in bench.shadow.sent if isinstance(f, Admit)).work
    bench.served.chunk(bench.served.batches[0][0], "A")
    bench.served.answer_all(text="A")
    bench.shadow.answer_all(text="A")
    await call

    assert (is_streamed, is_copied) == (True, False)
    assert chunks == [{"text": "A"}]


async def test_ends_a_copy_with_the_call_that_is_given_up(bench: _Bench) -> None:
    """A client that leaves is worked for nowhere."""
    await bench.begin()
    call = bench.ask("a")
    await settle()
    call.cancel()
    await settle()
    assert bench.shadow.cancelled == bench.shadow.batches[0]
    bench.served.let_go(*bench.served.cancelled)
    bench.shadow.let_go(*bench.shadow.cancelled)
    await settle()

    assert bench.counts() == {"served cancelled": 1, "shadow cancelled": 1}


async def test_drops_copies_where_the_shadow_cannot_keep_up(bench: _Bench) -> None:
    """They take half of its queue at most; its own requests have the rest, and go first."""
    await bench.begin(queue=QueuePolicy(max_size=4))
    calls = []
    for number in range(7):
        calls.append(bench.ask(f"copied {number}"))
        await settle()
        bench.served.answer_all(text="done")
        await calls[-1]
    # One step, and two that wait for the next.
    assert bench.shadow.texts == [["copied 0"]]
    assert bench.counts() == {"served done": 7, "shadow dropped": 4}
    own = [bench.ask(f"own {number}", version=2) for number in range(2)]
    await settle()
    with pytest.raises(QueueFull):
        await bench.ask("one too many", version=2)
    bench.shadow.answer_all()
    await settle()

    assert bench.shadow.texts[1] == ["own 0", "own 1", "copied 1", "copied 2"]
    bench.shadow.answer_all(text="done")
    await asyncio.gather(*own)
    await settle()
    assert bench.counts() == {"served done": 7, "shadow done": 3, "shadow dropped": 4}


async def test_bounds_the_copies_in_hand(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the engine would take them all."""
    monkeypatch.setattr(mirror, "MAX_COPIES", 2)
    await bench.begin()
    for text in "abc":
        call = bench.ask(text)
        await settle()
        bench.served.answer_all(text="done")
        await call

    assert bench.counts() == {"served done": 3, "shadow dropped": 1}


async def test_wakes_no_model_for_a_copy(bench: _Bench) -> None:
    """One that was evicted stays so; nobody waits for it."""
    await bench.begin()
    (shadow,) = [pool for pool in bench.orchestrator._pools if pool.deployment.version == 2]
    await shadow.evict()
    call = bench.ask("a")
    await settle()
    bench.served.answer_all(text="A")
    await call
    await settle()

    assert shadow.state == "evicted"
    assert len(bench.executor.links) == 2
    assert bench.counts() == {"served done": 1, "shadow dropped": 1}


async def test_leaves_the_callers_values_alone(bench: _Bench) -> None:
    """What an engine in this process does to a list of the copy, no other sees."""
    await bench.begin()
    inputs = {"texts": [{"text": "a"}]}
    call = asyncio.ensure_future(bench.orchestrator.predict("echo", inputs, {}))
    await settle()
    (pool,) = [pool for pool in bench.orchestrator._pools if pool.deployment.version == 2]
    (task,) = pool.replicas[0].holding.tasks.values()
    task.inputs["texts"][0]["text"] = "b"  # type: ignore[index]  # the test knows its values
    bench.served.answer_all(text="A")
    bench.shadow.answer_all(text="A")
    await call

    assert inputs == {"texts": [{"text": "a"}]}


async def test_answers_what_cannot_be_copied_without_a_copy(bench: _Bench) -> None:
    """Containers may be nested more deeply than can be copied: that is no fault of the caller's."""
    await bench.begin()
    nested: object = "a"
    for _ in range(sys.getrecursionlimit() * 6 // 10):
        nested = [nested]
    call = asyncio.ensure_future(bench.orchestrator.predict("echo", {"text": nested}, {}))
    await until(lambda: bool(bench.served.batches))
    bench.served.answer_all(text="A")
    assert await call == {"text": "A"}
    assert (bench.counts(), bench.shadow.batches) == ({"shadow dropped": 1}, [])


async def test_removes_a_shadow_with_its_version(bench: _Bench) -> None:
    """What it has is finished; then there are no copies any more."""
    await bench.begin()
    call = bench.ask("a")
    await settle()
    removal = asyncio.ensure_future(bench.orchestrator.remove_model("echo", 2))
    await settle()
    bench.served.answer_all(text="A")
    await call
    assert not removal.done()
    bench.shadow.answer_all(text="A")
    await removal
    again = bench.ask("b")
    await settle()
    bench.served.answer_all(text="B")

    assert await again == {"text": "B"}
    assert bench.counts() == {"served done": 1, "shadow done": 1}
    assert bench.orchestrator.model_shadow("echo") is None


async def test_gives_copies_up_when_the_server_ends(bench: _Bench) -> None:
    """Draining waits for what somebody waits for."""
    await bench.begin()
    call = bench.ask("a")
    await settle()
    draining = asyncio.ensure_future(bench.orchestrator.drain(100.0))
    await settle()
    bench.shadow.let_go(*bench.shadow.cancelled)
    bench.served.answer_all(text="A")
    await until(draining.done)

    assert await call == {"text": "A"}
    assert bench.counts() == {"served done": 1, "shadow cancelled": 1}
    with pytest.raises(NotServing):
        await bench.ask("b")


# Workflows


FLOW = make_graph(
    replace(model_node("n", text="$inputs.text"), cache=CachePolicy(ttl_s=60.0)),
    outputs={"text": "$n.text"},
)
LOUD = make_graph(
    replace(model_node("n", text="$inputs.text"), cache=CachePolicy(ttl_s=60.0)),
    model_node("m", text="$n.text"),
    outputs={"text": "$m.text"},
    version=2,
    source="other",
)


async def _begin_flows(bench: _Bench, **options: object) -> None:
    await bench.orchestrator.add_model(deploy("open_echo", **options))
    bench.orchestrator.add_workflow(FLOW)
    bench.orchestrator.add_workflow(LOUD)
    shadow = Shadow(version=2, percent=100.0)
    bench.orchestrator.set_workflow_traffic("flow", {1: 1.0}, shadow)


async def test_gives_a_share_of_the_runs_to_the_shadow_too(bench: _Bench) -> None:
    """The copy is in no history, in no cache, and in no count of runs but its own."""
    bench.executor.is_continuous = True
    await _begin_flows(bench)
    run = bench.orchestrator.start_run(bench.orchestrator.pick_workflow("flow"), {"text": "a"})
    await settle()
    assert bench.served.texts == [["a"], ["a"]]
    (first,), (copied,) = bench.served.batches
    bench.served.answer(first, text="A")
    assert await run.result() == {"text": "A"}
    bench.served.answer(copied, text="copied")
    await settle()
    assert bench.served.texts[2:] == [["copied"]]
    bench.served.answer_all(text="COPIED")
    await settle()

    assert bench.counts("runs") == {"served done": 1, "shadow done": 1}
    assert bench.orchestrator.runs() == [run]
    counted = {
        series.metric.name: sum(series.counts)
        for series in bench.orchestrator.stats.snapshot()
        if series.metric.name in ("run_seconds", "node_seconds")
    }
    assert counted == {"run_seconds": 1, "node_seconds": 1}
    again = bench.orchestrator.start_run(FLOW, {"text": "a"})
    assert await again.result() == {"text": "A"}, "of the cache, in which no copy left anything"


async def test_lets_nobody_wait_for_a_copy_of_a_run(bench: _Bench) -> None:
    """In a queue that both share, what somebody waits for goes first, and has the most places."""
    bench.executor.max_tasks = 1
    await _begin_flows(bench)
    runs = [
        bench.orchestrator.start_run(FLOW, {"text": text}, options=RunOptions())
        for text in ("a", "b")
    ]
    for _ in range(2):
        await settle()
        bench.served.answer_all(text="done")
    assert [await run.result() for run in runs] == [{"text": "done"}] * 2

    assert bench.served.texts == [["a"], ["b"], ["a"]]
    while bench.counts("runs").get("shadow done") != 2:
        await settle()
        bench.served.answer_all(text="done")


async def test_drops_the_copy_of_a_run_for_which_there_is_no_place(bench: _Bench) -> None:
    """That is no failure of its version: the queue is for those who wait."""
    bench.executor.max_tasks = 1
    await _begin_flows(bench, queue=QueuePolicy(max_size=3))
    runs = []
    for text in ("a", "b", "c"):
        runs.append(bench.orchestrator.start_run(FLOW, {"text": text}))
        await settle()
    while bench.orchestrator._pools.get("echo").replicas[0].holding.tasks:
        bench.served.answer_all(text="done")
        await settle()

    assert [await run.result() for run in runs] == [{"text": "done"}] * 3
    assert bench.counts("runs") == {"served done": 3, "shadow done": 1, "shadow dropped": 2}


async def test_ends_the_copy_of_a_run_that_is_cancelled(bench: _Bench) -> None:
    """A client that leaves a run leaves both."""
    bench.executor.is_continuous = True
    await _begin_flows(bench)
    run = bench.orchestrator.start_run(FLOW, {"text": "a"})
    await settle()
    run.cancel()
    await settle()

    assert len(bench.served.cancelled) == 2
    bench.served.let_go(*bench.served.cancelled)
    assert bench.counts("runs") == {"served cancelled": 1, "shadow cancelled": 1}


async def test_makes_no_copies_of_copies(bench: _Bench) -> None:
    """A copy of a run calls models and workflows that have shadows: those hear of the run alone."""
    await bench.begin()
    bench.orchestrator.add_workflow(FLOW)
    bench.orchestrator.add_workflow(LOUD)
    bench.orchestrator.set_workflow_traffic("flow", {1: 1.0}, Shadow(version=2, percent=100.0))
    outer = make_graph(
        Node(name="inner", call=WorkflowCall("flow"), inputs=bind(text="$inputs.text")),
        outputs={"text": "$inner.text"},
        name="outer",
    )
    bench.orchestrator.add_workflow(outer)
    run = bench.orchestrator.start_run(outer, {"text": "a"})
    while bench.counts("runs") != {"served done": 1, "shadow done": 1}:
        await settle()
        for pool in bench.orchestrator._pools:
            busy = list(pool.replicas[0].holding.tasks)
            if busy:
                bench.executor.links[pool.deployment.version - 1].answer(*busy, text="done")
    await settle()

    assert await run.result() == {"text": "done"}
    assert bench.counts() == {"served done": 1, "shadow done": 1}
