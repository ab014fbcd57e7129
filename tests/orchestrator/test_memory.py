"""Memory: models are let in, refused, evicted and loaded again; over played workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import deploy
from loom_fakes.graphs import make_graph, model_node
from loom_fakes.scripted import ScriptedExecutor, ScriptedLink, settle, until

from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.engine import Values
from torchloom.errors import DeadlineExceeded, ModelLoadError, OutOfMemory
from torchloom.graph import Node
from torchloom.memory import Memory
from torchloom.orchestrator import Orchestrator
from torchloom.policy import ReplicaPolicy
from torchloom.run_options import RunOptions


class _Bench:
    """An orchestrator over played workers, with ten bytes of memory."""

    def __init__(self, clock: ManualClock, *, can_evict: bool) -> None:
        self.clock = clock
        self.executor = ScriptedExecutor()
        self.memory = Memory({"cpu": 10}, can_evict=can_evict)
        self.orchestrator = Orchestrator(executor=self.executor, memory=self.memory, now=clock)

    async def add(self, name: str, count: int, **options: object) -> ScriptedLink:
        """Load a model that is expected to hold so many bytes; give its worker."""
        self.clock.advance(1.0)
        await self.orchestrator.add_model(
            deploy("open_echo", name=name, estimated_bytes=count, **options)
        )
        return self.executor.link

    def ask(self, name: str, **options: object) -> asyncio.Future[Values]:
        """Call a model."""
        run_options = RunOptions(**options)  # type: ignore[arg-type]  # tests give any
        return asyncio.ensure_future(
            self.orchestrator.predict(name, {"text": name}, {}, options=run_options)
        )

    def states(self) -> dict[str, str]:
        """Give the state of each model."""
        return {m.deployment.name: m.state for m in self.orchestrator.models()}


Make = Callable[..., _Bench]


def _after(name: str, node: Node) -> Node:
    return replace(node, after=frozenset({name}))


@pytest.fixture
async def make(clock: ManualClock) -> AsyncIterator[Make]:
    """Give a maker of benches; at the end all has been given back."""
    made: list[_Bench] = []

    def make(*, can_evict: bool = True) -> _Bench:
        made.append(_Bench(clock, can_evict=can_evict))
        return made[-1]

    yield make
    for bench in made:
        bench.orchestrator.check()
        await bench.orchestrator.stop()
        assert all(link.is_over for link in bench.executor.links)
        assert bench.memory.used() == {}


async def test_refuses_a_model_before_its_worker_starts(make: Make) -> None:
    """It leaves nothing behind, and what was there goes on."""
    bench = make(can_evict=False)
    await bench.add("a", 6)
    with pytest.raises(OutOfMemory, match=r"'b@1' needs .* It is held by: a@1"):
        await bench.add("b", 5)
    assert bench.executor.started == ["a"]
    assert bench.states() == {"a": "ready"}
    assert bench.memory.used() == {"cpu": 6}
    await bench.add("c", 4)
    await bench.orchestrator.remove_model("a")
    await bench.add("b", 5)
    assert bench.memory.used() == {"cpu": 9}


async def test_counts_what_is_still_loading(make: Make) -> None:
    """Two that load side by side cannot both take the last of it."""
    bench = make(can_evict=False)
    answers = await asyncio.gather(bench.add("a", 6), bench.add("b", 6), return_exceptions=True)
    assert [type(each) for each in answers] == [ScriptedLink, OutOfMemory]


async def test_counts_what_workers_tell(make: Make) -> None:
    """The measure takes the place of the estimate, also for the next worker on that device."""
    bench = make(can_evict=False)
    bench.executor.memory_bytes = 4
    await bench.add("a", 1)
    assert bench.memory.used() == {"cpu": 4}
    (model,) = bench.orchestrator.models()
    assert (model.memory_bytes, model.replicas[0].memory_bytes) == (4, 4)
    await bench.orchestrator.scale_model("a", replicas=ReplicaPolicy(min=2))
    with pytest.raises(OutOfMemory):
        await bench.orchestrator.scale_model("a", replicas=ReplicaPolicy(min=3))
    assert len(bench.executor.links) == 2
    assert bench.memory.used() == {"cpu": 8}


async def test_undoes_a_model_that_turns_out_too_large(make: Make) -> None:
    """One that said nothing of its size and takes more than there is does not stay."""
    bench = make()
    await bench.add("a", 0)
    bench.executor.memory_bytes = 11
    with pytest.raises(OutOfMemory, match="'b@1' has taken"):
        await bench.add("b", 0)
    assert bench.executor.link.is_over
    assert bench.states() == {"a": "ready"}


async def test_does_not_limit_what_has_no_budget(make: Make) -> None:
    """A device that the operator says nothing of takes what it can."""
    bench = make(can_evict=False)
    await bench.add("a", 1 << 40, devices=(Device("openvino", "GPU"),))
    assert bench.memory.used() == {"openvino:GPU": 1 << 40}


async def test_evicts_the_idle_and_loads_them_again(make: Make) -> None:
    """A task for an evicted model waits while it is loaded, and another one goes for it."""
    bench = make()
    first = await bench.add("a", 6)
    second = await bench.add("b", 4)
    await bench.add("c", 6)
    assert first.is_over
    assert bench.states() == {"a": "evicted", "b": "ready", "c": "ready"}
    assert bench.orchestrator.is_ready
    assert repr(bench.orchestrator).count("no replica") == 1
    answer = bench.ask("a")
    await settle()
    assert bench.executor.started == ["a", "b", "c", "a"]
    assert bench.states() == {"a": "ready", "b": "ready", "c": "evicted"}
    assert not second.is_over
    bench.executor.link.answer_all(text="A")
    assert await answer == {"text": "A"}


async def test_waits_for_a_busy_model(make: Make) -> None:
    """Rather than fail, tasks wait for memory that will be free: until the other is idle."""
    bench = make()
    await bench.add("a", 6)
    busy = await bench.add("b", 6)
    running = bench.ask("b")
    await settle()
    waiting = bench.ask("a")
    await settle()
    other = bench.ask("a")
    await settle()
    assert bench.states() == {"a": "evicted", "b": "ready"}
    busy.answer_all(text="B")
    assert await running == {"text": "B"}
    await settle()
    assert bench.states() == {"a": "ready", "b": "evicted"}
    bench.executor.link.answer_all(text="A")
    assert await waiting == await other == {"text": "A"}


async def test_loads_nothing_for_tasks_that_have_gone(make: Make) -> None:
    """A deadline that passes while a task waits for memory ends its wait, and the loading too."""
    bench = make()
    await bench.add("a", 6)
    busy = await bench.add("b", 6)
    running = bench.ask("b")
    await settle()
    with pytest.raises(DeadlineExceeded):
        await bench.ask("a", timeout_s=0.0)
    busy.answer_all()
    await running
    await settle()
    assert bench.executor.started == ["a", "b"]
    assert bench.states() == {"a": "evicted", "b": "ready"}


async def test_refuses_at_once_what_would_take_more_than_all(make: Make) -> None:
    """No wait helps a model that has grown beyond the budget since it was evicted."""
    bench = make()
    await bench.add("a", 6)
    await bench.add("b", 6)
    bench.memory.budgets["cpu"] = 5
    with pytest.raises(OutOfMemory):
        await bench.ask("a")
    assert bench.states()["a"] == "evicted"


async def test_fails_what_waits_if_loading_again_fails(make: Make) -> None:
    """The reason is told, and the next task tries anew."""
    bench = make()
    await bench.add("a", 6)
    await bench.add("b", 6)
    bench.executor.max_tasks = None
    waiting = bench.ask("a")
    await until(lambda: bench.executor.started == ["a", "b", "a"])
    assert bench.states()["a"] == "loading"
    bench.executor.link.refuse(ModelLoadError("The disk has gone."))
    with pytest.raises(ModelLoadError, match="The disk has gone"):
        await waiting
    assert bench.states()["a"] == "evicted"
    bench.executor.max_tasks = 4
    again = bench.ask("a")
    await settle()
    bench.executor.link.answer_all(text="A")
    assert await again == {"text": "A"}


async def test_stops_while_tasks_wait_for_memory(make: Make) -> None:
    """Removing a model whose tasks wait fails them and leaves nothing that would load it."""
    bench = make()
    await bench.add("a", 6)
    await bench.add("b", 6)
    running = bench.ask("b")
    await settle()
    waiting = bench.ask("a")
    await settle()
    await bench.orchestrator.remove_model("a", grace_s=0.0)
    assert isinstance(await asyncio.gather(waiting, return_exceptions=True), list)
    bench.executor.link.answer_all()
    await running
    assert bench.executor.started == ["a", "b"]


async def test_scaling_loads_an_evicted_model(make: Make) -> None:
    """An operator who scales a model wants it loaded; the number holds for later loads too."""
    bench = make()
    await bench.add("a", 4)
    await bench.add("b", 8)
    await bench.orchestrator.scale_model("a", replicas=ReplicaPolicy(min=2))
    assert bench.states() == {"a": "ready", "b": "evicted"}
    await bench.add("c", 3)
    assert bench.states() == {"a": "evicted", "b": "evicted", "c": "ready"}
    waiting = bench.ask("a")
    await settle()
    assert bench.executor.started[-2:] == ["a", "a"]
    waiting.cancel()
    await settle()


async def test_spares_what_a_run_has_yet_to_call(make: Make) -> None:
    """A registration takes nothing from runs; a run's own tasks may, or they wait for ever."""
    bench = make()
    first = await bench.add("a", 4)
    second = await bench.add("b", 6)
    graph = make_graph(model_node("one", "a"), _after("one", model_node("two", "b")))
    bench.orchestrator.add_workflow(graph)
    run = bench.orchestrator.start_run(graph, {})
    await settle()
    with pytest.raises(OutOfMemory):
        await bench.add("c", 5)
    first.answer_all()
    await settle()
    with pytest.raises(OutOfMemory):
        await bench.add("c", 5)
    await bench.add("d", 4)
    assert bench.states() == {"a": "evicted", "b": "ready", "d": "ready"}
    second.answer_all()
    await run.wait()


async def test_runs_a_chain_whose_models_do_not_fit_together(make: Make) -> None:
    """Each node takes the memory of the one before: slow, but no deadlock."""
    bench = make()
    await bench.add("a", 6)
    await bench.add("b", 6)
    nodes = (
        model_node("one", "a"),
        _after("one", model_node("two", "b")),
        _after("two", model_node("three", "a")),
    )
    bench.orchestrator.add_workflow(graph := make_graph(*nodes))
    run = bench.orchestrator.start_run(graph, {})
    for _ in nodes:
        await settle()
        bench.executor.link.answer_all()
    await run.result()
    assert bench.executor.started == ["a", "b", "a", "b", "a"]


def test_an_estimate_is_no_content() -> None:
    """Files that have grown do not make another model of the same registration."""
    one: Deployment = deploy("open_echo", estimated_bytes=1)
    assert one == deploy("open_echo", estimated_bytes=2)


async def test_books_what_was_fetched_before_it_is_loaded(make: Make) -> None:
    """The size of a model that is not here yet counts from when it is; then it is loaded."""
    bench = make()
    await bench.add("a", 2)
    bench.executor.max_tasks = None
    loading = asyncio.ensure_future(bench.add("b", 0))
    await until(lambda: len(bench.executor.links) == 2)
    bench.executor.link.claim(8)
    await settle()
    assert bench.executor.link.is_granted
    assert bench.memory.used() == {"cpu": 10}
    bench.executor.link.ready(memory_bytes=3)
    await loading
    assert bench.memory.used() == {"cpu": 5}


async def test_loads_nothing_that_turns_out_too_large_once_fetched(make: Make) -> None:
    """The worker is ended before it loads, the figures are told, and nothing is left behind."""
    bench = make(can_evict=False)
    await bench.add("a", 3)
    bench.executor.max_tasks = None
    loading = asyncio.ensure_future(bench.add("b", 0))
    await until(lambda: len(bench.executor.links) == 2)
    bench.executor.link.claim(8)
    with pytest.raises(OutOfMemory, match=r"Model 'b@1' needs .* on cpu"):
        await loading
    assert bench.executor.link.is_killed
    assert not bench.executor.link.is_granted
    assert (bench.memory.used(), bench.states()) == ({"cpu": 3}, {"a": "ready"})


async def test_evicts_for_what_was_fetched(make: Make) -> None:
    """An idle model makes room for one whose size is known only now, and only then."""
    bench = make(can_evict=True)
    await bench.add("a", 3)
    bench.executor.max_tasks = None
    loading = asyncio.ensure_future(bench.add("b", 0))
    await until(lambda: len(bench.executor.links) == 2)
    assert bench.states()["a"] == "ready"
    bench.executor.link.claim(8)
    await until(lambda: bench.executor.link.is_granted)
    assert bench.states()["a"] == "evicted"
    bench.executor.link.ready(memory_bytes=8)
    await loading


async def test_lets_a_worker_that_is_started_again_load_what_it_had(make: Make) -> None:
    """What it has held counts, not what its files say: its room was never given away."""
    bench = make()
    await bench.add("a", 6)
    bench.executor.max_tasks = None
    bench.executor.link.end()
    await until(lambda: len(bench.executor.links) == 2)
    bench.executor.link.claim(99)
    await until(lambda: bench.executor.link.is_granted)
    assert bench.memory.used() == {"cpu": 6}
