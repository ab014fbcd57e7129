"""Dispatcher: what waits goes to those with room: when, in which order, how many, and to whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from loom_fakes.pool_bench import MakePool, PoolBench, expect
from loom_fakes.scripted import ScriptedExecutor, settle, until

from torchloom import dispatcher as dispatcher_module
from torchloom.device import Device
from torchloom.errors import (
    DeadlineExceeded,
)
from torchloom.policy import BatchPolicy, ReplicaPolicy
from torchloom.task import Task, TaskState


CPU, CUDA = Device("cpu"), Device("cuda", "0")


async def test_sends_a_lone_task_at_once(make_pool: MakePool) -> None:
    """A batch of one goes at once when a replica is idle."""
    bench = make_pool()
    await bench.pool.start()
    (task,) = bench.submit("a")
    await until(lambda: bench.link.texts == [["a"]])
    bench.link.answer(task.id, text="A")
    assert await task.outputs() == {"text": "A"}
    assert repr(bench.pool) == "<Pool echo@1: 0 queued, 0 running on cpu>"


async def test_sends_together_what_comes_together(make_pool: MakePool) -> None:
    """Tasks that are submitted in one turn of the loop, by whomever, are one batch."""
    bench = make_pool()
    await bench.pool.start()
    bench.submit("a", "b", "c")
    await settle()
    assert bench.link.texts == [["a", "b", "c"]]


async def test_sends_what_is_a_batch_by_itself_before_it_is_waited_for(make_pool: MakePool) -> None:
    """Where a batch has one task, one that comes to a free replica goes in the same moment.

    One that has to wait does not go before those that wait already.
    """
    bench = make_pool(ScriptedExecutor(max_tasks=1), batching=BatchPolicy(max_size=1))
    await bench.pool.start()
    first, *_ = bench.submit("a", "b", "c")
    assert (bench.link.texts, len(bench.pool.queue)) == ([["a"]], 2)
    bench.link.answer(first.id)
    assert bench.link.texts == [["a"], ["b"]]
    bench.submit("d")
    await settle()
    bench.link.answer_all()
    bench.link.answer_all()
    assert bench.link.texts == [["a"], ["b"], ["c"], ["d"]]


async def test_sends_nothing_past_the_queue_to_another_device(
    make_pool: MakePool,
) -> None:
    """One that wishes for a device waits for it, though another replica is free."""
    executor = ScriptedExecutor(max_tasks=1)
    devices = (Device("cpu"), Device("cuda"))
    bench = make_pool(executor, batching=BatchPolicy(max_size=1), devices=devices)
    await bench.pool.start()
    bench.submit("a", "b", device="cuda")
    await settle()
    by_device = {link.device: link.texts for link in executor.links}
    assert by_device == {"cpu": [], "cuda": [["a"]]}
    bench.submit("c")
    assert {link.device: link.texts for link in executor.links}["cpu"] == [["c"]]


async def test_gathers_the_next_batch_while_the_engine_is_busy(make_pool: MakePool) -> None:
    """What comes during a step waits, and goes together when the engine is free."""
    bench = make_pool()
    await bench.pool.start()
    bench.submit("a")
    await settle()
    bench.submit("b", "c")
    await settle()
    assert bench.link.texts == [["a"]]
    assert repr(bench.pool) == "<Pool echo@1: 2 queued, 1 running on cpu>"
    bench.link.answer_all()
    await settle()
    assert bench.link.texts == [["a"], ["b", "c"]]


async def test_sends_the_next_batch_ahead_of_the_end_of_a_step(make_pool: MakePool) -> None:
    """Who waits when a step is about to end is sent then, and is at the worker when it ends."""
    bench = make_pool(replicas=ReplicaPolicy(min=2, max=2))
    await bench.pool.start()
    bench.pool.on_step("cpu", 1, 0.01)
    for name in "ab":
        bench.submit(name)
        await settle()
    bench.submit("c")
    assert sorted(link.texts for link in bench.links) == [[["a"]], [["b"]]]
    while len(bench.pool.queue):  # noqa: ASYNC110 - the pool tells nobody that it has sent
        await asyncio.sleep(0.001)
    assert sorted(link.texts for link in bench.links) == [[["a"], ["c"]], [["b"]]]


async def test_sends_no_more_than_room_and_policy_allow(make_pool: MakePool) -> None:
    """The engine's room and the user's `max_size` bound the batch."""
    bench = make_pool(batching=BatchPolicy(max_size=2))
    await bench.pool.start()
    bench.submit(*"abcde")
    await settle()
    bench.link.answer_all()
    await settle()
    bench.link.answer_all()
    await settle()
    assert bench.link.texts == [["a", "b"], ["c", "d"], ["e"]]


async def test_fills_a_continuous_engine_between_its_steps(make_pool: MakePool) -> None:
    """A new task joins as soon as there is room, without waiting for the others."""
    bench = make_pool(ScriptedExecutor(max_tasks=3, is_continuous=True))
    await bench.pool.start()
    first, *_ = bench.submit("a", "b")
    await settle()
    bench.submit("c", "d")
    await settle()
    assert bench.link.texts == [["a", "b"], ["c"]]
    bench.link.answer(first.id)
    await settle()
    assert bench.link.texts[-1] == ["d"]


async def test_gives_work_to_the_replica_with_the_most_room(make_pool: MakePool) -> None:
    """Two replicas feed from one queue; the busy one gets nothing."""
    bench = make_pool(replicas=ReplicaPolicy(min=2, max=2))
    await bench.pool.start()
    bench.submit("a")
    await settle()
    bench.submit("b")
    await settle()
    assert [link.texts for link in bench.links] == [[["a"]], [["b"]]]


async def _teach(bench: PoolBench) -> None:
    """Show the pool steps of two sizes (fixed cost 10 ms) and a burst of arrivals."""
    for texts in ("a", "bcd"):
        tasks = bench.submit(*texts)
        await settle()
        bench.link.answer(*(task.id for task in tasks), step_s=0.010 + 0.001 * len(tasks))
        await settle()


async def test_waits_in_a_burst_and_looks_again(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a burst the batch may grow for a moment: a timer looks again, or the next arrival does."""
    bench = make_pool()
    await bench.pool.start()
    await _teach(bench)
    timers: list[tuple[float, Callable[[], None]]] = []
    loop = asyncio.get_running_loop()

    def call_later(delay_s: float, function: Callable[[], None]) -> asyncio.Handle:
        timers.append((delay_s, function))
        return loop.call_soon(lambda: None)

    monkeypatch.setattr(loop, "call_later", call_later)
    bench.clock.advance(0.001)
    bench.submit("x")
    await settle()
    ((delay_s, look_again),) = timers
    assert 0.0 < delay_s <= 0.010
    assert len(bench.link.texts) == 2
    bench.clock.advance(0.020)
    look_again()
    await settle()
    assert bench.link.texts[2:] == [["x"]]
    monkeypatch.undo()


async def test_stops_waiting_when_the_batch_is_full(make_pool: MakePool) -> None:
    """A batch that became full while it waited goes at once, and leaves no timer."""
    bench = make_pool()
    await bench.pool.start()
    await _teach(bench)
    bench.clock.advance(0.001)
    bench.submit("w")
    await settle()
    assert bench.pool._dispatcher.is_about_to
    bench.submit("x", "y", "z")
    await settle()
    assert bench.link.texts[2:] == [["w", "x", "y", "z"]]
    assert not bench.pool._dispatcher.is_about_to


@pytest.mark.parametrize(("step_s", "sent"), [(0.001, ["b", "c", "d"]), (0.1, ["b"])])
async def test_sends_full_batches_ahead_of_short_steps(
    make_pool: MakePool, step_s: float, sent: list[str]
) -> None:
    """To the only worker there is; what it has not begun can still be cancelled."""
    bench = make_pool(ScriptedExecutor(max_tasks=1))
    await bench.pool.start()
    (first,) = bench.submit("a")
    await settle()
    bench.link.answer(first.id, step_s=step_s)
    tasks = bench.submit("b", "c", "d")
    await settle()
    assert bench.link.texts == [["a"], *([text] for text in sent)]
    for task in tasks[1:]:
        bench.pool.cancel(task)
    bench.link.answer(tasks[0].id, step_s=step_s)
    await settle()
    assert [task.state.value for task in tasks] == ["done", "cancelled", "cancelled"]


async def test_sends_in_order_of_priority_deadline_and_tenant(make_pool: MakePool) -> None:
    """The queue's order decides who goes next."""
    bench = make_pool(ScriptedExecutor(max_tasks=1))
    await bench.pool.start()
    bench.submit("first")
    await settle()
    now = bench.clock()
    bench.submit("late", deadline=now + 9)
    bench.submit("soon", deadline=now + 5)
    bench.submit("urgent", priority=5)
    bench.submit("other", tenant="other")
    for _ in range(4):
        bench.link.answer_all()
        await settle()
    order = [texts[0] for texts in bench.link.texts]
    assert order[:2] == ["first", "urgent"]
    assert order.index("soon") < order.index("late")
    assert order.index("other") < 4


async def test_does_not_work_on_what_is_too_late(make_pool: MakePool) -> None:
    """A task whose deadline has passed is refused, or dropped wherever it stands in the queue."""
    bench = make_pool()
    await bench.pool.start()
    bench.submit("a")
    await settle()
    now = bench.clock()
    urgent, *_ = bench.submit("urgent", priority=1)
    (late,) = bench.submit("late", deadline=now + 1.0)
    (in_time,) = bench.submit("in time", deadline=now + 9.0)
    bench.clock.advance(2.0)
    bench.link.answer_all()
    await settle()
    assert bench.link.batches[1:] == [[urgent.id, in_time.id]]
    await expect(late, DeadlineExceeded, "passed in the queue")
    assert late.state is TaskState.EXPIRED
    assert bench.stats.counter("tasks", "echo", "1", "expired").value == 1
    with pytest.raises(DeadlineExceeded, match="before the work could begin"):
        bench.submit("x", deadline=bench.clock())


async def test_sends_nothing_when_all_that_waits_is_too_late(make_pool: MakePool) -> None:
    """No empty batch is sent."""
    bench = make_pool()
    await bench.pool.start()
    bench.submit("a")
    await settle()
    bench.submit("b", deadline=bench.clock() + 1.0)
    bench.clock.advance(2.0)
    bench.link.answer_all()
    await settle()
    assert bench.link.texts == [["a"]]


async def test_looks_at_the_time_until_the_last_moment(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that becomes too late between decision and dispatch is not sent either."""
    bench = make_pool()
    await bench.pool.start()
    (late,) = bench.submit("a", deadline=bench.clock() + 1.0)
    decide = dispatcher_module.how_many

    def decide_slowly(*asked: object, **named: object) -> object:
        bench.clock.advance(2.0)
        return decide(*asked, **named)  # type: ignore[arg-type]  # whatever it takes

    monkeypatch.setattr(dispatcher_module, "how_many", decide_slowly)
    await settle()
    assert bench.link.batches == []
    await expect(late, DeadlineExceeded)


async def test_sends_hinted_tasks_to_their_device(make_pool: MakePool) -> None:
    """Each replica takes the first task that it may; none that waits for another holds it up."""
    bench = make_pool(ScriptedExecutor(max_tasks=1), devices=(CPU, CUDA))
    await bench.pool.start()
    bench.submit("g1", "g2", "g3", device="cuda")
    bench.submit("c1", device="cpu")
    bench.submit("x")
    bench.submit("urgent", device="cuda:0", priority=1)
    cpu, cuda = bench.links
    for _ in range(4):
        await settle()
        bench.pool.check()
        for link in (cpu, cuda):
            if any(task.id in link.batches[-1] for task in _running(bench)):
                link.answer_all()
    await settle()
    assert cpu.texts == [["c1"], ["x"]]
    assert cuda.texts == [["urgent"], ["g1"], ["g2"], ["g3"]]


def _running(bench: PoolBench) -> list[Task]:
    return [task for each in bench.pool.replicas for task in each.holding.tasks.values()]


async def test_faster_devices_take_more(make_pool: MakePool) -> None:
    """One queue: a device four times as fast does four times as much, with no share laid down."""
    bench = make_pool(ScriptedExecutor(max_tasks=1), devices=(CPU, CUDA))
    await bench.pool.start()
    tasks = bench.submit(*(str(number) for number in range(50)))
    cpu, cuda = bench.links
    for tick in range(1, 41):
        await settle()
        bench.clock.advance(1.0)
        cuda.answer_all(step_s=1.0)
        if tick % 4 == 0:
            cpu.answer_all(step_s=4.0)
    await settle()
    assert all(task.state is TaskState.DONE for task in tasks)
    assert (len(cpu.texts), len(cuda.texts)) == (10, 40)
