"""Autoscaler: the number of a pool's replicas follows its load; over played workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import deploy
from loom_fakes.scripted import ScriptedExecutor, ScriptedLink, settle, until

from torchloom import backoff
from torchloom.device import Device
from torchloom.engine import Occupancy
from torchloom.errors import ModelLoadError, NotServing
from torchloom.memory import Memory
from torchloom.policy import ReplicaPolicy
from torchloom.pool import Pool
from torchloom.stats import Stats
from torchloom.task import Task


class _Bench:
    """A pool whose workers hold one task each, and whose number follows the load."""

    def __init__(
        self, clock: ManualClock, executor: ScriptedExecutor, memory: Memory, **options: object
    ) -> None:
        self.clock = clock
        self.executor = executor
        self.memory = memory
        self.stats = Stats()
        self.pool = Pool(
            deploy("open_echo", **options), executor, self.stats, now=clock, memory=memory
        )

    @property
    def count(self) -> int:
        return len(self.pool.replicas)

    @property
    def alive(self) -> list[ScriptedLink]:
        return [link for link in self.executor.links if not link.is_over]

    def submit(self, *texts: str) -> list[Task]:
        tasks = [Task({"text": text}, {}) for text in texts]
        for task in tasks:
            self.pool.submit(task)
        return tasks

    async def answer_all(self) -> None:
        """Answer whatever is in flight, and what takes its place, until nothing waits."""
        while busy := [replica for replica in self.pool.replicas if replica.holding.tasks]:
            for replica in busy:
                link = self.executor.links[(replica.pid or 0) - 1]
                link.answer(*replica.holding.tasks, text="done")
            await settle()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and the scaler look, as its timer would have it."""
        self.clock.advance(seconds)
        self.pool.fleet.autoscaler.look()
        await settle()

    def changes(self, change: str) -> float:
        return self.stats.counter("scalings", "echo", "1", change).value


Make = Callable[..., _Bench]


@pytest.fixture
async def make(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Give a maker of benches; at the end no worker is left."""
    monkeypatch.setattr(backoff, "_WAITS_S", (0.0, 3600.0))
    made: list[_Bench] = []

    def make(
        least: int = 1,
        most: int = 3,
        *,
        executor: ScriptedExecutor | None = None,
        memory: Memory | None = None,
        **options: object,
    ) -> _Bench:
        replicas = ReplicaPolicy(min=least, max=most, wait_s=5.0, idle_s=60.0)
        executor = executor or ScriptedExecutor(max_tasks=1)
        options = {"replicas": replicas, **options}
        made.append(_Bench(clock, executor, memory or Memory(), **options))
        return made[-1]

    yield make
    for bench in made:
        bench.pool.check()
        await bench.pool.stop()
        assert bench.alive == []


async def test_adds_a_replica_when_tasks_have_waited(make: Make) -> None:
    """Not before `wait_s`, and one after the other; what waited goes to it."""
    bench = make()
    await bench.pool.start()
    bench.submit("a", "b", "c", "d")
    await settle()
    await bench.pass_time(4.9)
    assert bench.count == 1
    await bench.pass_time(0.2)
    assert bench.count == 2
    assert [link.texts for link in bench.executor.links] == [[["a"]], [["b"]]]
    await bench.pass_time(4.9)
    assert bench.count == 2
    await bench.pass_time(0.2)
    assert bench.count == 3
    await bench.pass_time(100.0)
    assert bench.count == 3
    assert bench.changes("up") == 2
    await bench.answer_all()


async def test_rings_by_itself(make: Make, clock: ManualClock) -> None:
    """Nobody has to come by for it to act: it sets timers in both directions."""
    replicas = ReplicaPolicy(min=1, max=2, wait_s=0.0, idle_s=0.01)
    bench = make(replicas=replicas)
    await bench.pool.start()
    bench.submit("a", "b")
    await until(lambda: bench.count == 2 and len(bench.executor.link.texts) == 1)
    await bench.answer_all()
    clock.advance(1.0)
    async with asyncio.timeout(20):
        while bench.count == 2:  # noqa: ASYNC110 - a timer changes it
            await asyncio.sleep(0.005)


async def test_adds_none_while_the_queue_is_emptied_now_and_then(make: Make) -> None:
    """Who keeps up needs no help: the time counts anew whenever nothing waits."""
    bench = make()
    await bench.pool.start()
    for _ in range(3):
        bench.submit("a", "b")
        await settle()
        await bench.pass_time(4.0)
        await bench.answer_all()

    assert bench.count == 1


async def test_adds_none_while_a_batch_gathers(make: Make) -> None:
    """Tasks that wait for company, beside a replica with room, are not in need."""
    bench = make(executor=ScriptedExecutor(max_tasks=8))
    await bench.pool.start()
    for texts in ("a", "bcd"):  # in a burst, at steps whose cost is mostly fixed
        tasks = bench.submit(*texts)
        await settle()
        ids = [task.id for task in tasks]
        bench.executor.link.answer(*ids, step_s=0.010 + 0.001 * len(tasks))
        await settle()
    bench.clock.advance(0.001)
    bench.submit("x")
    await settle()
    assert bench.pool.is_wanted
    assert bench.pool.pressure == ()

    bench.clock.advance(100.0)
    bench.pool.on_room()
    await settle()
    assert bench.executor.link.texts == [["a"], ["b", "c", "d"], ["x"]]
    assert bench.count == 1
    await bench.answer_all()


async def test_takes_a_replica_away_that_nobody_needs(make: Make) -> None:
    """After `idle_s` in which the others were enough; one after the other, down to the least."""
    bench = make()
    await bench.pool.start()
    await bench.pool.scale(ReplicaPolicy(min=3, max=3))
    await bench.pool.scale(ReplicaPolicy(min=1, max=3, wait_s=5.0, idle_s=60.0))
    assert bench.count == 3
    await bench.pass_time(59.0)
    assert bench.count == 3
    await bench.pass_time(2.0)
    assert bench.count == 2
    await bench.pass_time(59.0)
    assert bench.count == 2
    await bench.pass_time(2.0)
    assert bench.count == 1
    await bench.pass_time(1000.0)
    assert bench.count == 1
    assert bench.changes("down") == 2
    assert len(bench.alive) == 1


async def test_keeps_what_was_needed_within_the_time(make: Make) -> None:
    """One moment in which all were busy, and the time counts anew."""
    bench = make(2, 2)
    await bench.pool.start()
    await bench.pool.scale(ReplicaPolicy(min=1, max=2, idle_s=60.0))
    for _ in range(3):
        await bench.pass_time(40.0)
        bench.submit("a", "b")
        await settle()
        await bench.answer_all()
    assert bench.count == 2

    bench.submit("a")
    await settle()
    await bench.pass_time(61.0)
    assert bench.count == 1
    await bench.answer_all()


async def test_loses_no_task_of_a_replica_that_goes(make: Make) -> None:
    """It ends what it has, and takes nothing new."""
    executor = ScriptedExecutor(max_tasks=4, is_continuous=True)
    bench = make(2, 2, executor=executor)
    await bench.pool.start()
    await bench.pool.scale(ReplicaPolicy(min=1, max=2, idle_s=60.0))
    (first,) = bench.submit("a")
    await settle()
    (second,) = bench.submit("b")
    await settle()
    assert [link.texts for link in executor.links] == [[["a"]], [["b"]]]
    await bench.pass_time(0.0)
    await bench.pass_time(61.0)
    assert [each.state.value for each in bench.pool.replicas] == ["ready", "draining"]
    assert bench.pool.state == "ready"
    (third,) = bench.submit("c")
    await settle()
    executor.links[1].answer(second.id, text="B")
    await until(lambda: bench.count == 1)
    executor.links[0].answer(first.id, third.id, text="A")

    assert [await each.outputs() for each in (first, second, third)] == [
        {"text": "A"},
        {"text": "B"},
        {"text": "A"},
    ]
    assert executor.links[1].texts == [["b"]]


async def test_counts_places_of_an_engine_that_takes_tasks_at_any_time(make: Make) -> None:
    """Two replicas, each half used, would be one: but not where one more task is in flight."""
    executor = ScriptedExecutor(max_tasks=4, is_continuous=True)
    bench = make(2, 2, executor=executor)
    await bench.pool.start()
    await bench.pool.scale(ReplicaPolicy(min=1, max=2, idle_s=60.0))
    tasks = bench.submit("a", "b", "c", "d", "e")
    await settle()
    await bench.pass_time(61.0)
    assert bench.count == 2
    bench.executor.links[0].answer(tasks[0].id)
    await settle()
    await bench.pass_time(61.0)
    assert bench.pool.replicas[1].state.value == "draining"
    await bench.answer_all()
    await until(lambda: bench.count == 1)


async def test_sees_that_an_engine_is_full(make: Make) -> None:
    """One that has places, but no memory for what they would hold, has no room."""
    executor = ScriptedExecutor(max_tasks=4, is_continuous=True)
    bench = make(1, 2, executor=executor)
    await bench.pool.start()
    bench.submit("a")
    await settle()
    executor.link.tell_occupancy(Occupancy(is_full=True))
    bench.submit("b")
    await settle()
    await bench.pass_time(5.0)

    assert bench.count == 2
    await bench.answer_all()


async def test_loads_one_at_a_time(make: Make) -> None:
    """While one loads, nothing more is begun, however many wait; the model stays ready."""
    executor = ScriptedExecutor(max_tasks=1)
    bench = make(executor=executor)
    await bench.pool.start()
    executor.max_tasks = None
    bench.submit("a", "b", "c", "d")
    await settle()
    await bench.pass_time(5.0)
    await bench.pass_time(500.0)
    assert len(executor.links) == 2
    assert bench.pool.state == "ready"
    executor.link.ready(1)
    await settle()
    assert executor.links[1].texts == [["b"]]
    await bench.pass_time(4.0)
    assert len(executor.links) == 2
    await bench.pass_time(1.0)
    assert len(executor.links) == 3
    executor.link.ready(1)
    await settle()
    await bench.answer_all()


async def test_waits_after_a_start_that_has_failed(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """What serves goes on; the next try comes after growing waits, and the reason is told."""
    executor = ScriptedExecutor(max_tasks=1)
    bench = make(executor=executor)
    await bench.pool.start()
    executor.max_tasks = None
    bench.submit("a", "b")
    await settle()
    for num_tried in (1, 2):
        await bench.pass_time(5.0)
        await bench.pass_time(5.0)
        assert len(executor.links) == 1 + num_tried
        with caplog.at_level(logging.WARNING):
            executor.link.refuse(ModelLoadError("The disk has gone."))
            await settle()
    await bench.pass_time(5.0)
    await bench.pass_time(5.0)

    assert len(executor.links) == 3, "it is to wait an hour now"
    assert bench.pool.status(1.0).scaling_error == "The disk has gone."
    await bench.pool.scale(ReplicaPolicy(min=1, max=1))
    assert bench.pool.status(1.0).scaling_error is None
    assert "echo@1: no further replica on auto: The disk has gone." in caplog.text
    assert (bench.count, bench.pool.state, bench.changes("failed")) == (1, "ready", 2)
    await bench.answer_all()


async def test_forgets_a_failure_when_one_has_come(make: Make) -> None:
    """The reason is told until it holds no more."""
    executor = ScriptedExecutor(max_tasks=1)
    bench = make(executor=executor)
    await bench.pool.start()
    bench.submit("a", "b")
    await settle()
    executor.refusal = OSError("too many processes")
    await bench.pass_time(5.0)
    assert "too many processes" in (bench.pool.status(1.0).scaling_error or "")
    executor.refusal = None
    await bench.pass_time(0.0)
    await bench.pass_time(5.0)

    assert bench.count == 2
    assert bench.pool.status(1.0).scaling_error is None
    await bench.answer_all()


async def test_takes_only_memory_that_is_free(make: Make, clock: ManualClock) -> None:
    """No other model is evicted for it, and where none is left it says so."""
    memory = Memory({"cpu": 10}, can_evict=True)
    other = _Bench(clock, ScriptedExecutor(), memory, name="other", estimated_bytes=4)
    await other.pool.start()
    bench = make(memory=memory, estimated_bytes=3)
    await bench.pool.start()
    bench.submit("a", "b", "c")
    await settle()
    await bench.pass_time(5.0)
    assert bench.count == 2
    await bench.pass_time(0.0)
    await bench.pass_time(5.0)

    assert bench.count == 2
    assert other.pool.state == "ready"
    assert "needs" in (bench.pool.status(1.0).scaling_error or "")
    await bench.answer_all()
    await other.pool.stop()


async def test_goes_where_there_is_room(make: Make) -> None:
    """A device that is full is passed over for the next one."""
    memory = Memory({"cpu": 3, "cuda:0": 100})
    devices = (Device("cpu"), Device("cuda", "0"))
    bench = make(memory=memory, estimated_bytes=3, devices=devices)
    await bench.pool.start()
    bench.submit("a", "b", "c", "d")
    await settle()
    await bench.pass_time(5.0)
    await bench.pass_time(0.0)
    await bench.pass_time(5.0)

    assert [str(each.wanted_device) for each in bench.pool.replicas] == ["cpu", "cuda:0", "cuda:0"]
    await bench.answer_all()


async def test_leaves_a_number_alone_that_is_fixed(make: Make) -> None:
    """Also after it was elastic: whoever says how many has the last word."""
    bench = make()
    await bench.pool.start()
    bench.submit("a", "b", "c")
    await settle()
    await bench.pass_time(5.0)
    scaling = asyncio.ensure_future(bench.pool.scale(ReplicaPolicy(min=1, max=1)))
    await settle()
    await bench.answer_all()
    await until(scaling.done)
    bench.submit("a", "b")
    await settle()
    await bench.pass_time(500.0)

    assert bench.count == 1
    await bench.answer_all()


async def test_keeps_a_number_within_new_bounds(make: Make) -> None:
    """Changed bounds end no replica that they allow."""
    bench = make()
    await bench.pool.start()
    bench.submit("a", "b", "c")
    await settle()
    await bench.pass_time(5.0)
    await bench.pool.scale(ReplicaPolicy(min=1, max=4))
    assert bench.count == 2
    await bench.answer_all()
    await bench.pool.scale(ReplicaPolicy(min=3, max=4))
    assert bench.count == 3


async def test_gives_way_to_who_says_how_many(make: Make) -> None:
    """A replica that is being loaded for the load is given up: nobody waits for it."""
    executor = ScriptedExecutor(max_tasks=1)
    bench = make(executor=executor)
    await bench.pool.start()
    executor.max_tasks = None
    bench.submit("a", "b")
    await settle()
    await bench.pass_time(5.0)
    assert len(executor.links) == 2
    await bench.pool.scale(ReplicaPolicy(min=1, max=1))

    assert executor.links[1].is_killed
    assert bench.count == 1
    await bench.answer_all()


async def test_ends_while_it_loads_and_while_it_drains(make: Make) -> None:
    """Stopping a pool leaves no worker behind, whatever was about to happen."""
    growing = make(executor=ScriptedExecutor(max_tasks=1))
    await growing.pool.start()
    growing.executor.max_tasks = None
    growing.submit("a", "b")
    await settle()
    await growing.pass_time(5.0)
    assert len(growing.alive) == 2
    await growing.pool.stop()
    assert growing.alive == []
    shrinking = make(2, 2, executor=ScriptedExecutor(max_tasks=2, is_continuous=True))
    await shrinking.pool.start()
    await shrinking.pool.scale(ReplicaPolicy(min=1, max=2, idle_s=1.0))
    shrinking.submit("a")
    await settle()
    (second,) = shrinking.submit("b")
    await settle()
    await shrinking.pass_time(2.0)
    assert shrinking.pool.replicas[1].state.value == "draining"
    await shrinking.pool.stop()
    with pytest.raises(NotServing):
        await second.outputs()


async def test_waits_while_a_worker_is_down(make: Make) -> None:
    """One that has died is started again first: another would meet what killed it."""
    executor = ScriptedExecutor(max_tasks=1)
    bench = make(2, 3, executor=executor)
    await bench.pool.start()
    executor.max_tasks = None
    executor.links[0].end()
    bench.submit("a", "b", "c")
    await settle()
    await bench.pass_time(100.0)
    assert len(executor.links) == 3, "the one that was started again"
    executor.link.ready(1)
    await settle()
    await bench.pass_time(0.0)
    await bench.pass_time(5.0)
    assert len(executor.links) == 4
    executor.link.ready(1)
    await settle()
    await bench.answer_all()


async def test_changes_nothing_while_it_drains(make: Make) -> None:
    """What is on its way out loads nothing more."""
    bench = make()
    await bench.pool.start()
    bench.submit("a", "b")
    await settle()
    draining = asyncio.ensure_future(bench.pool.drain(100.0))
    await settle()
    await bench.pass_time(500.0)
    assert bench.count == 1
    await bench.answer_all()
    await draining


# Down to none


async def test_loads_a_model_of_no_replicas_when_it_is_asked(make: Make) -> None:
    """With `min: 0` it is registered at once, and the first task waits for one worker."""
    bench = make(0, 2)
    await bench.pool.start()
    assert (bench.pool.state, bench.executor.links) == ("evicted", [])
    assert bench.pool.can_serve
    (task,) = bench.submit("a")
    await until(lambda: bool(bench.executor.links) and bench.executor.link.texts == [["a"]])
    await bench.answer_all()
    assert await task.outputs() == {"text": "done"}
    assert (bench.count, bench.pool.state) == (1, "ready")


async def test_takes_the_last_one_away_and_brings_it_back(make: Make) -> None:
    """After `idle_s` without a task; the memory is free, and the next task loads it again."""
    memory = Memory({"cpu": 10})
    bench = make(0, 2, memory=memory, estimated_bytes=3)
    await bench.pool.start()
    bench.submit("a")
    await until(lambda: bool(bench.executor.links) and bench.executor.link.texts == [["a"]])
    await bench.pass_time(100.0)
    assert bench.count == 1
    await bench.answer_all()
    await bench.pass_time(59.0)
    assert (bench.count, memory.used()) == (1, {"cpu": 3})
    await bench.pass_time(2.0)
    assert (bench.count, bench.pool.state, memory.used()) == (0, "evicted", {})
    assert bench.changes("down") == 1
    (task,) = bench.submit("b")
    await until(lambda: len(bench.executor.links) == 2 and bench.executor.link.texts == [["b"]])
    await bench.answer_all()
    assert await task.outputs() == {"text": "done"}


async def test_keeps_the_last_one_for_a_task_that_just_comes(make: Make) -> None:
    """Between the decision and the deed a task may come: it is served by who is there."""
    bench = make(0, 1)
    await bench.pool.start()
    bench.submit("a")
    await until(lambda: bool(bench.executor.links) and bench.executor.link.texts == [["a"]])
    await bench.answer_all()
    await bench.pass_time(0.0)
    bench.clock.advance(61.0)
    bench.pool.fleet.autoscaler.look()
    (task,) = bench.submit("b")
    await settle()
    await bench.answer_all()

    assert await task.outputs() == {"text": "done"}
    assert len(bench.executor.links) == 1


async def test_does_not_try_a_broken_model_for_every_task(make: Make) -> None:
    """Those that wait are told why; who comes at once is refused, and starts no worker."""
    executor = ScriptedExecutor(max_tasks=None)
    bench = make(0, 1, executor=executor)
    await bench.pool.start()
    for num_tried in (1, 2):
        (task,) = bench.submit("a")
        await until(lambda num=num_tried: len(executor.links) == num)  # type: ignore[misc]  # mypy infers no lambda with defaults
        executor.link.refuse(ModelLoadError("The disk has gone."))
        with pytest.raises(ModelLoadError, match="The disk has gone"):
            await task.outputs()
        await settle()
    with pytest.raises(NotServing, match=r"The disk has gone\. It will be tried again"):
        bench.submit("b")

    assert len(executor.links) == 2
    assert bench.pool.status(1.0).scaling_error == "The disk has gone."


async def test_sees_what_waits_behind_a_step_that_takes_longer_than_others(make: Make) -> None:
    """Nothing is sent ahead to a worker that others may come to help; nor where there are two."""
    bench = make()
    await bench.pool.start()
    (first,) = bench.submit("quick")
    await settle()
    bench.executor.links[0].answer(first.id, step_s=0.001)
    bench.submit("slow", "behind")
    await settle()
    await bench.pass_time(0.1)
    await bench.pass_time(6.0)
    assert [link.texts for link in bench.executor.links] == [[["quick"], ["slow"]], [["behind"]]]
    bench.submit("more")
    await settle()
    assert len(bench.pool.queue) == 1
    await bench.answer_all()
