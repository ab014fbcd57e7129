"""Pool: one queue, its replicas, and who gets what next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import deploy
from loom_fakes.scripted import ScriptedExecutor, ScriptedLink, settle, until

from torchloom import backoff
from torchloom import dispatcher as dispatcher_module
from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.errors import (
    Cancelled,
    DeadlineExceeded,
    ModelLoadError,
    NotServing,
    QueueFull,
    WorkerDied,
)
from torchloom.model_call import ask
from torchloom.policy import BatchPolicy, QueuePolicy, ReplicaPolicy
from torchloom.pool import Pool
from torchloom.run_options import CallOptions
from torchloom.stats import Stats
from torchloom.task import Task, TaskState


CPU, CUDA = Device("cpu"), Device("cuda", "0")


class _Bench:
    """A pool over workers that the test plays."""

    def __init__(
        self, clock: ManualClock, executor: ScriptedExecutor, deployment: Deployment
    ) -> None:
        self.clock = clock
        self.executor = executor
        self.stats = Stats()
        self.progress: list[tuple[str, str, float | None]] = []
        self.pool = Pool(
            deployment,
            executor,
            self.stats,
            now=clock,
            on_progress=lambda *what: self.progress.append(what),
        )

    @property
    def link(self) -> ScriptedLink:
        return self.executor.link

    @property
    def links(self) -> list[ScriptedLink]:
        return self.executor.links

    def submit(self, *texts: str, **options: object) -> list[Task]:
        tasks = [Task({"text": text}, {}, **options) for text in texts]  # type: ignore[arg-type]  # tests give any
        for task in tasks:
            self.pool.submit(task)
        return tasks


Make = Callable[..., _Bench]


@pytest.fixture
async def make(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Give a maker of pools; at the end of the test the invariant holds, and still after a stop."""
    monkeypatch.setattr(backoff, "_WAITS_S", (0.0,))
    made: list[_Bench] = []

    def make(executor: ScriptedExecutor | None = None, **options: object) -> _Bench:
        bench = _Bench(clock, executor or ScriptedExecutor(), deploy("open_echo", **options))
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.pool.check()
        await bench.pool.stop()
        bench.pool.check()
        assert all(link.is_over for link in bench.links)


async def _expect(task: Task, kind: type[Exception], message: str | None = None) -> None:
    with pytest.raises(kind, match=message):
        await task.outputs()


# Batches


async def test_sends_a_lone_task_at_once(make: Make) -> None:
    """A batch of one goes at once when a replica is idle."""
    bench = make()
    await bench.pool.start()
    (task,) = bench.submit("a")
    await until(lambda: bench.link.texts == [["a"]])
    bench.link.answer(task.id, text="A")
    assert await task.outputs() == {"text": "A"}
    assert repr(bench.pool) == "<Pool echo@1: 0 queued, 0 running on cpu>"


async def test_sends_together_what_comes_together(make: Make) -> None:
    """Tasks that are submitted in one turn of the loop, by whomever, are one batch."""
    bench = make()
    await bench.pool.start()
    bench.submit("a", "b", "c")
    await settle()
    assert bench.link.texts == [["a", "b", "c"]]


async def test_sends_what_is_a_batch_by_itself_before_it_is_waited_for(make: Make) -> None:
    """Where a batch has one task, one that comes to a free replica goes in the same moment.

    One that has to wait does not go before those that wait already.
    """
    bench = make(ScriptedExecutor(max_tasks=1), batching=BatchPolicy(max_size=1))
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


async def test_sends_nothing_past_the_queue_to_where_it_is_not_wished_for(make: Make) -> None:
    """One that wishes for a device waits for it, though another replica is free."""
    executor = ScriptedExecutor(max_tasks=1)
    devices = (Device("cpu"), Device("cuda"))
    bench = make(executor, batching=BatchPolicy(max_size=1), devices=devices)
    await bench.pool.start()
    bench.submit("a", "b", device="cuda")
    await settle()
    by_device = {link.device: link.texts for link in executor.links}
    assert by_device == {"cpu": [], "cuda": [["a"]]}
    bench.submit("c")
    assert {link.device: link.texts for link in executor.links}["cpu"] == [["c"]]


async def test_gathers_the_next_batch_while_the_engine_is_busy(make: Make) -> None:
    """What comes during a step waits, and goes together when the engine is free."""
    bench = make()
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


async def test_sends_the_next_batch_ahead_of_the_end_of_a_step(make: Make) -> None:
    """Who waits when a step is about to end is sent then, and is at the worker when it ends."""
    bench = make(replicas=ReplicaPolicy(min=2, max=2))
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


async def test_sends_no_more_than_room_and_policy_allow(make: Make) -> None:
    """The engine's room and the user's `max_size` bound the batch."""
    bench = make(batching=BatchPolicy(max_size=2))
    await bench.pool.start()
    bench.submit(*"abcde")
    await settle()
    bench.link.answer_all()
    await settle()
    bench.link.answer_all()
    await settle()
    assert bench.link.texts == [["a", "b"], ["c", "d"], ["e"]]


async def test_fills_a_continuous_engine_between_its_steps(make: Make) -> None:
    """A new task joins as soon as there is room, without waiting for the others."""
    bench = make(ScriptedExecutor(max_tasks=3, is_continuous=True))
    await bench.pool.start()
    first, *_ = bench.submit("a", "b")
    await settle()
    bench.submit("c", "d")
    await settle()
    assert bench.link.texts == [["a", "b"], ["c"]]
    bench.link.answer(first.id)
    await settle()
    assert bench.link.texts[-1] == ["d"]


async def test_gives_work_to_the_replica_with_the_most_room(make: Make) -> None:
    """Two replicas feed from one queue; the busy one gets nothing."""
    bench = make(replicas=ReplicaPolicy(min=2, max=2))
    await bench.pool.start()
    bench.submit("a")
    await settle()
    bench.submit("b")
    await settle()
    assert [link.texts for link in bench.links] == [[["a"]], [["b"]]]


async def _teach(bench: _Bench) -> None:
    """Show the pool steps of two sizes (fixed cost 10 ms) and a burst of arrivals."""
    for texts in ("a", "bcd"):
        tasks = bench.submit(*texts)
        await settle()
        bench.link.answer(*(task.id for task in tasks), step_s=0.010 + 0.001 * len(tasks))
        await settle()


async def test_waits_in_a_burst_and_looks_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a burst the batch may grow for a moment: a timer looks again, or the next arrival does."""
    bench = make()
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


async def test_stops_waiting_when_the_batch_is_full(make: Make) -> None:
    """A batch that became full while it waited goes at once, and leaves no timer."""
    bench = make()
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


# The queue


async def test_refuses_what_the_queue_has_no_place_for(make: Make) -> None:
    """A full queue says so, to whom, and when to try again; nobody else is affected."""
    bench = make(queue=QueuePolicy(max_size=2))
    await bench.pool.start()
    bench.submit("a")
    await settle()
    bench.submit("b", "c")
    with pytest.raises(QueueFull, match=r"'echo@1'.*2 tasks are waiting") as refusal:
        bench.submit("d")
    assert refusal.value.retry_after_s == 0.05
    bench.link.answer_all(text="A")
    await settle()
    assert bench.link.texts == [["a"], ["b", "c"]]
    bench.submit("d")


async def test_tells_when_to_try_again_by_the_length_of_a_step(make: Make) -> None:
    """A place is free after about a step; never less than a moment, nor more than half a minute."""
    bench = make(queue=QueuePolicy(max_size=1))
    await bench.pool.start()
    for step_s, expected_s in ((3.0, 3.0), (500.0, 30.0)):
        (task,) = bench.submit("a")
        await settle()
        bench.link.answer(task.id, step_s=step_s)
        bench.submit("b")
        with pytest.raises(QueueFull) as refusal:
            bench.submit("c")
        assert refusal.value.retry_after_s == pytest.approx(expected_s)
        await settle()
        bench.link.answer_all()
        bench.pool._dispatcher._costs.clear()


@pytest.mark.parametrize(("step_s", "sent"), [(0.001, ["b", "c", "d"]), (0.1, ["b"])])
async def test_sends_full_batches_ahead_of_short_steps(
    make: Make, step_s: float, sent: list[str]
) -> None:
    """To the only worker there is; what it has not begun can still be cancelled."""
    bench = make(ScriptedExecutor(max_tasks=1))
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


async def test_lets_a_caller_wait_for_a_place(make: Make) -> None:
    """Patient callers are taken in as places come free, in their order."""
    bench = make(ScriptedExecutor(max_tasks=1), queue=QueuePolicy(max_size=1))
    await bench.pool.start()
    bench.submit("a")
    await settle()
    bench.submit("b")
    patient = [Task({"text": text}, {}) for text in "cd"]
    waiting = [asyncio.ensure_future(bench.pool.submit_when_free(task)) for task in patient]
    await settle()
    assert [w.done() for w in waiting] == [False, False]
    bench.link.answer_all()
    await settle()
    assert [w.done() for w in waiting] == [True, False]
    bench.link.answer_all()
    await settle()
    bench.link.answer_all()
    await settle()
    assert bench.link.texts == [["a"], ["b"], ["c"], ["d"]]


async def _line_up(bench: _Bench, number: int) -> list[asyncio.Future[None]]:
    """Let callers wait for a place behind a full queue of one."""
    await bench.pool.start()
    bench.submit("running")
    await settle()
    bench.submit("queued")
    tasks = [Task({"text": str(n)}, {}) for n in range(number)]
    waiting = [asyncio.ensure_future(bench.pool.submit_when_free(task)) for task in tasks]
    await settle()
    return waiting


async def test_wakes_as_many_as_there_are_places(make: Make) -> None:
    """A place costs one wake-up, however many are in line: ten thousand items do not stampede."""
    bench = make(ScriptedExecutor(max_tasks=1), queue=QueuePolicy(max_size=1))
    waiting = await _line_up(bench, 1000)
    for number in range(1, 10):
        bench.link.answer_all()
        assert bench.pool._line._num_invited == 1
        await until(lambda n=number: waiting[n - 1].done())
        assert len(bench.pool._line) == 1000 - number
    for call in waiting:
        call.cancel()


async def test_passes_a_place_on_when_its_turn_comes_too_late(make: Make) -> None:
    """One who leaves in the moment of being let in costs the next nothing."""
    bench = make(ScriptedExecutor(max_tasks=1), queue=QueuePolicy(max_size=1))
    waiting = await _line_up(bench, 4)
    (queued,) = bench.pool.queue.tasks()
    waiting[0].cancel()
    bench.pool.cancel(queued)
    waiting[1].cancel()
    await settle()
    assert [call.cancelled() for call in waiting] == [True, True, False, False]
    assert [call.done() for call in waiting[2:]] == [True, False]
    waiting[3].cancel()
    await settle()
    assert (len(bench.pool._line), bench.pool._line._num_invited) == (0, 0)


async def test_waits_again_if_another_takes_the_place(make: Make) -> None:
    """A caller who does not wait may come in between; the one in line keeps waiting."""
    bench = make(ScriptedExecutor(max_tasks=1), queue=QueuePolicy(max_size=1))
    (waiting,) = await _line_up(bench, 1)
    (queued,) = bench.pool.queue.tasks()
    bench.pool.cancel(queued)
    bench.submit("quick")
    await settle()
    assert not waiting.done()
    bench.link.answer_all()
    await until(waiting.done)


async def test_frees_a_place_for_one_who_waits_when_another_leaves(make: Make) -> None:
    """A cancelled task in the queue makes room like one that was sent."""
    bench = make(queue=QueuePolicy(max_size=1))
    await bench.pool.start()
    bench.submit("a")
    await settle()
    (queued,) = bench.submit("b")
    task = Task({"text": "c"}, {})
    waiting = asyncio.ensure_future(bench.pool.submit_when_free(task))
    await settle()
    bench.pool.cancel(queued)
    await waiting
    assert bench.pool.queue.peek() is task


async def test_sends_in_order_of_priority_deadline_and_tenant(make: Make) -> None:
    """The queue's order decides who goes next."""
    bench = make(ScriptedExecutor(max_tasks=1))
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


async def test_does_not_work_on_what_is_too_late(make: Make) -> None:
    """A task whose deadline has passed is refused, or dropped wherever it stands in the queue."""
    bench = make()
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
    await _expect(late, DeadlineExceeded, "passed in the queue")
    assert late.state is TaskState.EXPIRED
    assert bench.stats.counter("tasks", "echo", "1", "expired").value == 1
    with pytest.raises(DeadlineExceeded, match="before the work could begin"):
        bench.submit("x", deadline=bench.clock())


async def test_sends_nothing_when_all_that_waits_is_too_late(make: Make) -> None:
    """No empty batch is sent."""
    bench = make()
    await bench.pool.start()
    bench.submit("a")
    await settle()
    bench.submit("b", deadline=bench.clock() + 1.0)
    bench.clock.advance(2.0)
    bench.link.answer_all()
    await settle()
    assert bench.link.texts == [["a"]]


async def test_looks_at_the_time_until_the_last_moment(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that becomes too late between decision and dispatch is not sent either."""
    bench = make()
    await bench.pool.start()
    (late,) = bench.submit("a", deadline=bench.clock() + 1.0)
    decide = dispatcher_module.how_many

    def decide_slowly(*asked: object, **named: object) -> object:
        bench.clock.advance(2.0)
        return decide(*asked, **named)  # type: ignore[arg-type]  # whatever it takes

    monkeypatch.setattr(dispatcher_module, "how_many", decide_slowly)
    await settle()
    assert bench.link.batches == []
    await _expect(late, DeadlineExceeded)


# Cancellation


async def test_cancels_a_task_in_the_queue(make: Make) -> None:
    """It never reaches a worker."""
    bench = make()
    await bench.pool.start()
    one, two = bench.submit("a", "b")
    bench.pool.cancel(one)
    bench.pool.cancel(one)
    await settle()
    assert bench.link.texts == [["b"]]
    await _expect(one, Cancelled)
    bench.link.answer(two.id)
    bench.pool.cancel(two)
    assert two.state is TaskState.DONE


async def test_cancels_a_task_in_flight(make: Make) -> None:
    """Its worker is told, its caller too, and its room comes back when the engine has let go."""
    bench = make(replicas=ReplicaPolicy(min=2, max=2))
    await bench.pool.start()
    (one,) = bench.submit("a")
    await settle()
    (two,) = bench.submit("b")
    await settle()
    bench.pool.cancel(two)
    await _expect(two, Cancelled)
    assert [link.cancelled for link in bench.links] == [[], [two.id]]
    bench.submit("c")
    await settle()
    assert bench.links[1].texts == [["b"]]
    bench.links[1].let_go(two.id)
    await settle()
    assert bench.links[1].texts == [["b"], ["c"]]
    bench.links[0].answer(one.id)


async def test_cancels_the_task_of_a_caller_who_stops_waiting(make: Make) -> None:
    """Leaving is cancelling, in the queue and in flight."""
    bench = make(ScriptedExecutor(max_tasks=1))
    await bench.pool.start()
    options = CallOptions()
    calls = [ask(bench.pool, {"text": text}, {}, sink=None, options=options) for text in "ab"]
    callers = [asyncio.ensure_future(call) for call in calls]
    await settle()
    assert (bench.link.texts, len(bench.pool.queue)) == ([["a"]], 1)
    ((sent,),) = bench.link.batches
    for caller in callers:
        caller.cancel()
    await settle()
    assert (bench.link.cancelled, len(bench.pool.queue)) == ([sent], 0)
    assert bench.stats.counter("tasks", "echo", "1", "cancelled").value == 2


# Death


async def test_runs_the_tasks_of_a_dead_worker_again_one_by_one(make: Make) -> None:
    """Any of them may have killed it: each goes alone until it has answered; newcomers wait."""
    bench = make()
    await bench.pool.start()
    tasks = bench.submit("a", "b", "c")
    await settle()
    bench.link.end()
    (new,) = bench.submit("new")
    await until(lambda: len(bench.links) == 2)
    for task in tasks:
        await until(lambda t=task: bench.link.batches[-1:] == [[t.id]])
        bench.link.answer(task.id, text="done")
    await until(lambda: bench.link.batches[-1] == [new.id])
    assert [await task.outputs() for task in tasks] == [{"text": "done"}] * 3


async def test_finds_the_task_that_kills_and_spares_its_neighbours(make: Make) -> None:
    """A poison task fails after its third death; all others are answered."""
    bench = make(ScriptedExecutor(max_tasks=4, is_continuous=True))
    await bench.pool.start()
    tasks = bench.submit("a", "kill", "b", "c")
    await settle()
    for _ in range(20):
        link = bench.link
        if any("kill" in texts for texts in link.texts):
            link.end()
        for task_id in [i for batch in link.batches for i in batch]:
            link.answer(task_id, text="ok")
        await settle()
    good = [task for task in tasks if task.inputs["text"] != "kill"]
    assert [await task.outputs() for task in good] == [{"text": "ok"}] * 3
    await _expect(tasks[1], WorkerDied, "again and again")
    assert [task.deaths for task in good] == [1, 1, 1]


async def test_lets_others_go_before_a_suspect_but_not_with_it(make: Make) -> None:
    """A suspect of low priority waits its turn, and then goes alone."""
    bench = make(ScriptedExecutor(max_tasks=4))
    await bench.pool.start()
    (suspect,) = bench.submit("suspect", priority=-1)
    await settle()
    bench.link.end()
    bench.submit("a", "b")
    await settle()
    assert bench.link.texts == [["a", "b"]]
    bench.link.answer_all()
    await settle()
    assert bench.link.texts == [["a", "b"], ["suspect"]]
    bench.link.answer(suspect.id)


async def test_waits_for_an_idle_replica_for_a_suspect(make: Make) -> None:
    """A suspect does not join tasks that are in flight; it goes when they are done."""
    bench = make(
        ScriptedExecutor(max_tasks=2, is_continuous=True), replicas=ReplicaPolicy(min=2, max=2)
    )
    await bench.pool.start()
    one, two = bench.submit("a", "b")
    await settle()
    (three,) = bench.submit("c")
    await settle()
    first, second = bench.links
    assert (first.texts, second.texts) == ([["a", "b"]], [["c"]])
    bench.executor.max_tasks = None
    first.end()
    await settle()
    assert second.texts == [["c"]]
    second.answer(three.id)
    await settle()
    assert second.texts == [["c"], ["a"]]
    second.answer(one.id)
    await settle()
    second.answer(two.id)


async def test_loses_nothing_when_workers_die_at_random(make: Make) -> None:
    """Whatever dies and whenever: every accepted task is answered, none twice."""
    bench = make(
        ScriptedExecutor(max_tasks=3, is_continuous=True), replicas=ReplicaPolicy(min=3, max=3)
    )
    await bench.pool.start()
    tasks = bench.submit(*(str(number) for number in range(60)))
    await settle()
    for round_ in range(400):
        alive = [link for link in bench.links if not link.is_over]
        link = alive[round_ % len(alive)]
        held = [i for batch in link.batches for i in batch]
        running = [t for t in tasks if t.id in held and t.state is TaskState.RUNNING]
        if round_ % 17 == 3 and max((t.deaths for t in running), default=0) < 2:
            link.end()
        elif running:
            link.answer(running[0].id, text=running[0].inputs["text"])
        await settle() if round_ % 3 == 0 else await asyncio.sleep(0)
        bench.pool.check()
    assert len(bench.links) > 10
    assert [await task.outputs() for task in tasks] == [{"text": str(n)} for n in range(60)]


# State, scale, end


async def test_sums_up_the_state_of_its_replicas(make: Make) -> None:
    """Loading, ready, degraded, failed, draining: what a user wants to know, with the reason."""
    bench = make(ScriptedExecutor(max_tasks=None), replicas=ReplicaPolicy(min=2, max=2))
    starting = asyncio.ensure_future(bench.pool.start())
    await until(lambda: len(bench.links) == 2)
    assert bench.pool.state == "loading"
    assert not bench.pool.can_serve
    first, second = bench.links
    first.ready()
    assert bench.pool.state == "degraded"
    second.progress("compiling", 0.5)
    second.ready()
    await starting
    assert (bench.pool.state, bench.pool.can_serve) == ("ready", True)
    assert bench.progress == [("echo@1 on auto", "compiling", 0.5)]
    first.end()
    assert bench.pool.state == "degraded"
    bench.executor.refusal = OSError("no memory")
    second.end()
    assert bench.pool.state == "failed"
    status = bench.pool.status(0.5)
    assert (status.state, status.queue_depth, status.weight) == ("failed", 0, 0.5)
    assert status.replicas[0].error == "The worker of model 'echo@1' ended: signal SIGKILL."
    await bench.pool.drain(0.0)
    assert (bench.pool.state, bench.pool.can_serve) == ("draining", False)


async def test_leaves_nothing_behind_if_one_replica_does_not_load(make: Make) -> None:
    """All or none: the error is raised as it is, and every worker has ended."""
    bench = make(ScriptedExecutor(max_tasks=None), replicas=ReplicaPolicy(min=2, max=2))
    starting = asyncio.ensure_future(bench.pool.start())
    waiting = asyncio.ensure_future(bench.pool.wait_started())
    await until(lambda: len(bench.links) == 2)
    bench.links[0].ready()
    bench.links[1].refuse(ModelLoadError("The weights are missing."))
    with pytest.raises(ModelLoadError, match=r"^The weights are missing\.$"):
        await starting
    with pytest.raises(ModelLoadError, match="'echo@1' could not be loaded"):
        await waiting
    assert bench.pool.replicas == []
    assert all(link.is_over for link in bench.links)


async def test_leaves_nothing_behind_if_its_start_is_cancelled(make: Make) -> None:
    """A caller who gives up loading gets all of it undone."""
    bench = make(ScriptedExecutor(max_tasks=None))
    starting = asyncio.ensure_future(bench.pool.start())
    await until(lambda: bool(bench.links))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert bench.pool.replicas == []
    assert bench.link.is_killed


async def test_scales_up_and_down(make: Make) -> None:
    """Each device gets its number of replicas; those taken away finish what they have."""
    bench = make(devices=(CPU, CUDA))
    await bench.pool.start()
    await bench.pool.scale(ReplicaPolicy(min=2, max=2))
    assert [str(r.wanted_device) for r in bench.pool.replicas] == ["cpu", "cuda:0", "cpu", "cuda:0"]
    tasks = bench.submit("a")
    await settle()
    bench.submit("b")
    bench.submit("c")
    await settle()
    scaling = asyncio.ensure_future(bench.pool.scale(ReplicaPolicy(min=1, max=1)))
    await settle()
    busy = [link for link in bench.links if link.texts]
    for link in busy:
        link.answer_all(text="done")
    await settle()
    for link in bench.links:
        if link.texts and not link.is_over:
            link.answer_all(text="done")
    await scaling
    assert len(bench.pool.replicas) == 2
    assert await tasks[0].outputs() == {"text": "done"}
    assert sum(link.is_over for link in bench.links) == 2


async def test_takes_a_busy_replica_away_only_when_it_is_done(make: Make) -> None:
    """Scaling down while a task is in flight waits for that task, and gives it nothing more."""
    bench = make(replicas=ReplicaPolicy(min=2, max=2))
    await bench.pool.start()
    (one,) = bench.submit("a")
    await settle()
    (two,) = bench.submit("b")
    await settle()
    scaling = asyncio.ensure_future(bench.pool.scale(ReplicaPolicy(min=1, max=1)))
    await settle()
    bench.links[1].fail(two.id)
    bench.submit("c")
    await until(scaling.done)
    assert bench.links[1].is_over
    assert bench.links[1].texts == [["b"]]
    bench.links[0].answer(one.id)
    await settle()
    assert bench.links[0].texts == [["a"], ["c"]]


async def test_queues_the_tasks_of_a_retiring_replica_that_dies(make: Make) -> None:
    """Scaled down and killed while busy: the tasks go to the replicas that stay."""
    bench = make(replicas=ReplicaPolicy(min=2, max=2))
    await bench.pool.start()
    bench.submit("a")
    await settle()
    (two,) = bench.submit("b")
    await settle()
    scaling = asyncio.ensure_future(bench.pool.scale(ReplicaPolicy(min=1, max=1)))
    await settle()
    bench.links[1].end()
    await until(scaling.done)
    bench.links[0].answer_all()
    await settle()
    bench.links[0].answer(two.id, text="B")
    assert await two.outputs() == {"text": "B"}
    assert len(bench.links) == 2


async def test_scales_one_wish_after_the_other(make: Make) -> None:
    """Wishes that come at the same time do not add up."""
    bench = make()
    await bench.pool.start()
    wishes = [bench.pool.scale(ReplicaPolicy(min=n, max=n)) for n in (3, 1, 2)]
    await asyncio.gather(*wishes)
    assert len(bench.pool.replicas) == 2
    assert sum(not link.is_over for link in bench.links) == 2


async def test_serves_nobody_without_a_replica_until_it_is_given_one(make: Make) -> None:
    """None are wanted: nothing is started, tasks are refused at once, and it cannot be evicted."""
    bench = make(replicas=ReplicaPolicy(min=0, max=0))
    await bench.pool.start()
    assert (bench.pool.state, bench.links) == ("empty", [])
    assert not bench.pool.is_idle
    with pytest.raises(NotServing, match="has no replica"):
        bench.submit("a")
    await bench.pool.scale(ReplicaPolicy(min=1, max=1))
    assert bench.pool.state == "ready"
    (task,) = bench.submit("b")
    await settle()
    bench.link.answer_all(text="B")
    assert await task.outputs() == {"text": "B"}


async def test_fails_what_waits_when_its_last_replica_is_taken_away(make: Make) -> None:
    """What is in flight ends well; nobody would ever come for the rest."""
    bench = make(ScriptedExecutor(max_tasks=1))
    await bench.pool.start()
    (first,) = bench.submit("a")
    await settle()
    scaling = asyncio.ensure_future(bench.pool.scale(ReplicaPolicy(min=0, max=0)))
    await settle()
    (second,) = bench.submit("b")
    bench.link.answer_all(text="A")
    await until(scaling.done)
    assert await first.outputs() == {"text": "A"}
    with pytest.raises(NotServing, match="has no replica"):
        await second.outputs()
    assert bench.pool.state == "empty"


async def test_keeps_what_it_has_if_scaling_up_fails(make: Make) -> None:
    """A further replica that does not load is undone; the others go on serving."""
    bench = make()
    await bench.pool.start()
    bench.executor.refusal = OSError("no memory")
    with pytest.raises(ModelLoadError, match="no memory"):
        await bench.pool.scale(ReplicaPolicy(min=3, max=3))
    assert len(bench.pool.replicas) == 1
    assert bench.pool.state == "ready"


async def test_drains_all_that_was_accepted(make: Make) -> None:
    """No new task is taken; every accepted one is settled, queued or in flight."""
    bench = make(ScriptedExecutor(max_tasks=1))
    await bench.pool.start()
    tasks = bench.submit("a", "b")
    await settle()
    draining = asyncio.ensure_future(bench.pool.drain(100.0))
    await settle()
    with pytest.raises(NotServing, match="'echo@1' is being taken out of service") as refusal:
        bench.submit("c")
    assert refusal.value.retry_after_s == 1.0
    for _ in tasks:
        assert not draining.done()
        bench.link.answer_all(text="done")
        await settle()
    await draining
    assert [await task.outputs() for task in tasks] == [{"text": "done"}] * 2
    await bench.pool.drain(0.0)


async def test_drains_no_longer_than_the_grace(make: Make) -> None:
    """A task that does not end in time is left to `stop`."""
    bench = make()
    await bench.pool.start()
    bench.submit("a")
    await settle()
    await bench.pool.drain(0.0)
    assert len(bench.pool.replicas[0].in_flight) == 1


async def test_fails_all_that_is_left_when_it_stops(make: Make) -> None:
    """Queued, in flight, or waiting for a place: each caller is told, no timer stays."""
    bench = make(ScriptedExecutor(max_tasks=1), queue=QueuePolicy(max_size=1))
    await bench.pool.start()
    (running,) = bench.submit("a")
    await settle()
    (queued,) = bench.submit("b")
    patient = asyncio.ensure_future(bench.pool.submit_when_free(Task({}, {})))
    await settle()
    dispatcher = bench.pool._dispatcher
    dispatcher._timer = timer = asyncio.get_running_loop().call_later(1000.0, dispatcher.ask)
    await bench.pool.stop()
    await _expect(running, NotServing)
    await _expect(queued, NotServing)
    with pytest.raises(NotServing):
        await patient
    assert timer.cancelled()


# Devices


async def test_sends_hinted_tasks_to_their_device(make: Make) -> None:
    """Each replica takes the first task that it may; none that waits for another holds it up."""
    bench = make(ScriptedExecutor(max_tasks=1), devices=(CPU, CUDA))
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


def _running(bench: _Bench) -> list[Task]:
    return [task for each in bench.pool.replicas for task in each.in_flight.values()]


async def test_faster_devices_take_more(make: Make) -> None:
    """One queue: a device four times as fast does four times as much, with no share laid down."""
    bench = make(ScriptedExecutor(max_tasks=1), devices=(CPU, CUDA))
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


async def test_runs_the_tasks_of_a_dead_device_on_another(make: Make) -> None:
    """A hint is no promise: what a device had when it died goes to those that are up."""
    bench = make(devices=(CPU, CUDA))
    await bench.pool.start()
    cpu, cuda = bench.links
    one, two = bench.submit("a", "b", device="cuda")
    await settle()
    assert cuda.texts == [["a", "b"]]
    bench.executor.refusal = OSError("the device has gone")
    cuda.end()
    for task in (one, two):
        await settle()
        bench.pool.check()
        cpu.answer(task.id, text="done")
        assert await task.outputs() == {"text": "done"}
    assert cpu.texts == [["a"], ["b"]]


async def test_notices_a_free_replica_beside_a_task_that_it_may_take(make: Make) -> None:
    """The invariant of handing out is checked."""
    bench = make()
    await bench.pool.start()
    task = Task({}, {})
    bench.pool.queue.add(task)
    bench.pool._accepted += 1
    with pytest.raises(AssertionError):
        bench.pool.check()
    bench.pool.cancel(task)


async def test_notices_when_its_count_is_wrong(make: Make) -> None:
    """The invariant is checked, not only stated."""
    bench = make()
    await bench.pool.start()
    bench.pool._accepted += 1
    with pytest.raises(AssertionError):
        bench.pool.check()
    bench.pool._accepted -= 1
