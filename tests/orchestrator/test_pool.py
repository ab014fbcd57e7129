"""Pool: one queue, its replicas, and how tasks end."""

from __future__ import annotations

import asyncio

import pytest
from loom_fakes.pool_bench import MakePool, PoolBench, expect
from loom_fakes.scripted import ScriptedExecutor, settle, until

from torchloom.device import Device
from torchloom.errors import (
    Cancelled,
    ModelLoadError,
    NotServing,
    QueueFull,
    WorkerDied,
)
from torchloom.model_call import ask
from torchloom.policy import QueuePolicy, ReplicaPolicy
from torchloom.run_options import CallOptions
from torchloom.task import Task, TaskState


CPU, CUDA = Device("cpu"), Device("cuda", "0")


# The queue


async def test_refuses_what_the_queue_has_no_place_for(make_pool: MakePool) -> None:
    """A full queue says so, to whom, and when to try again; nobody else is affected."""
    bench = make_pool(queue=QueuePolicy(max_size=2))
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


async def test_tells_when_to_try_again_by_the_length_of_a_step(make_pool: MakePool) -> None:
    """A place is free after about a step; never less than a moment, nor more than half a minute."""
    bench = make_pool(queue=QueuePolicy(max_size=1))
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


async def test_lets_a_caller_wait_for_a_place(make_pool: MakePool) -> None:
    """Patient callers are taken in as places come free, in their order."""
    bench = make_pool(ScriptedExecutor(max_tasks=1), queue=QueuePolicy(max_size=1))
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


async def _line_up(bench: PoolBench, number: int) -> list[asyncio.Future[None]]:
    """Let callers wait for a place behind a full queue of one."""
    await bench.pool.start()
    bench.submit("running")
    await settle()
    bench.submit("queued")
    tasks = [Task({"text": str(n)}, {}) for n in range(number)]
    waiting = [asyncio.ensure_future(bench.pool.submit_when_free(task)) for task in tasks]
    await settle()
    return waiting


async def test_wakes_as_many_as_there_are_places(make_pool: MakePool) -> None:
    """A place costs one wake-up, however many are in line: ten thousand items do not stampede."""
    bench = make_pool(ScriptedExecutor(max_tasks=1), queue=QueuePolicy(max_size=1))
    waiting = await _line_up(bench, 1000)
    for number in range(1, 10):
        bench.link.answer_all()
        assert bench.pool._line._num_invited == 1
        await until(lambda n=number: waiting[n - 1].done())
        assert len(bench.pool._line) == 1000 - number
    for call in waiting:
        call.cancel()


async def test_passes_a_place_on_when_its_turn_comes_too_late(make_pool: MakePool) -> None:
    """One who leaves in the moment of being let in costs the next nothing."""
    bench = make_pool(ScriptedExecutor(max_tasks=1), queue=QueuePolicy(max_size=1))
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


async def test_waits_again_if_another_takes_the_place(make_pool: MakePool) -> None:
    """A caller who does not wait may come in between; the one in line keeps waiting."""
    bench = make_pool(ScriptedExecutor(max_tasks=1), queue=QueuePolicy(max_size=1))
    (waiting,) = await _line_up(bench, 1)
    (queued,) = bench.pool.queue.tasks()
    bench.pool.cancel(queued)
    bench.submit("quick")
    await settle()
    assert not waiting.done()
    bench.link.answer_all()
    await until(waiting.done)


async def test_frees_a_place_for_one_who_waits_when_another_leaves(make_pool: MakePool) -> None:
    """A cancelled task in the queue makes room like one that was sent."""
    bench = make_pool(queue=QueuePolicy(max_size=1))
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


# Cancellation


async def test_cancels_a_task_in_the_queue(make_pool: MakePool) -> None:
    """It never reaches a worker."""
    bench = make_pool()
    await bench.pool.start()
    one, two = bench.submit("a", "b")
    bench.pool.cancel(one)
    bench.pool.cancel(one)
    await settle()
    assert bench.link.texts == [["b"]]
    await expect(one, Cancelled)
    bench.link.answer(two.id)
    bench.pool.cancel(two)
    assert two.state is TaskState.DONE


async def test_cancels_a_task_in_flight(make_pool: MakePool) -> None:
    """Its worker is told, its caller too, and its room comes back when the engine has let go."""
    bench = make_pool(replicas=ReplicaPolicy(min=2, max=2))
    await bench.pool.start()
    (one,) = bench.submit("a")
    await settle()
    (two,) = bench.submit("b")
    await settle()
    bench.pool.cancel(two)
    await expect(two, Cancelled)
    assert [link.cancelled for link in bench.links] == [[], [two.id]]
    bench.submit("c")
    await settle()
    assert bench.links[1].texts == [["b"]]
    bench.links[1].let_go(two.id)
    await settle()
    assert bench.links[1].texts == [["b"], ["c"]]
    bench.links[0].answer(one.id)


async def test_cancels_the_task_of_a_caller_who_stops_waiting(make_pool: MakePool) -> None:
    """Leaving is cancelling, in the queue and in flight."""
    bench = make_pool(ScriptedExecutor(max_tasks=1))
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


async def test_runs_the_tasks_of_a_dead_worker_again_one_by_one(make_pool: MakePool) -> None:
    """Any of them may have killed it: each goes alone until it has answered; newcomers wait."""
    bench = make_pool()
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


async def test_finds_the_task_that_kills_and_spares_its_neighbours(make_pool: MakePool) -> None:
    """A poison task fails after its third death; all others are answered."""
    bench = make_pool(ScriptedExecutor(max_tasks=4, is_continuous=True))
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
    await expect(tasks[1], WorkerDied, "again and again")
    assert [task.deaths for task in good] == [1, 1, 1]


async def test_lets_others_go_before_a_suspect_but_not_with_it(make_pool: MakePool) -> None:
    """A suspect of low priority waits its turn, and then goes alone."""
    bench = make_pool(ScriptedExecutor(max_tasks=4))
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


async def test_waits_for_an_idle_replica_for_a_suspect(make_pool: MakePool) -> None:
    """A suspect does not join tasks that are in flight; it goes when they are done."""
    bench = make_pool(
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


async def test_loses_nothing_when_workers_die_at_random(make_pool: MakePool) -> None:
    """Whatever dies and whenever: every accepted task is answered, none twice."""
    bench = make_pool(
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


async def test_sums_up_the_state_of_its_replicas(make_pool: MakePool) -> None:
    """Loading, ready, degraded, failed, draining: what a user wants to know, with the reason."""
    bench = make_pool(ScriptedExecutor(max_tasks=None), replicas=ReplicaPolicy(min=2, max=2))
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


async def test_leaves_nothing_behind_if_one_replica_does_not_load(make_pool: MakePool) -> None:
    """All or none: the error is raised as it is, and every worker has ended."""
    bench = make_pool(ScriptedExecutor(max_tasks=None), replicas=ReplicaPolicy(min=2, max=2))
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


async def test_leaves_nothing_behind_if_its_start_is_cancelled(make_pool: MakePool) -> None:
    """A caller who gives up loading gets all of it undone."""
    bench = make_pool(ScriptedExecutor(max_tasks=None))
    starting = asyncio.ensure_future(bench.pool.start())
    await until(lambda: bool(bench.links))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert bench.pool.replicas == []
    assert bench.link.is_killed


async def test_scales_up_and_down(make_pool: MakePool) -> None:
    """Each device gets its number of replicas; those taken away finish what they have."""
    bench = make_pool(devices=(CPU, CUDA))
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


async def test_takes_a_busy_replica_away_only_when_it_is_done(make_pool: MakePool) -> None:
    """Scaling down while a task is in flight waits for that task, and gives it nothing more."""
    bench = make_pool(replicas=ReplicaPolicy(min=2, max=2))
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


async def test_queues_the_tasks_of_a_retiring_replica_that_dies(make_pool: MakePool) -> None:
    """Scaled down and killed while busy: the tasks go to the replicas that stay."""
    bench = make_pool(replicas=ReplicaPolicy(min=2, max=2))
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


async def test_scales_one_wish_after_the_other(make_pool: MakePool) -> None:
    """Wishes that come at the same time do not add up."""
    bench = make_pool()
    await bench.pool.start()
    wishes = [bench.pool.scale(ReplicaPolicy(min=n, max=n)) for n in (3, 1, 2)]
    await asyncio.gather(*wishes)
    assert len(bench.pool.replicas) == 2
    assert sum(not link.is_over for link in bench.links) == 2


async def test_serves_nobody_without_a_replica_until_it_is_given_one(make_pool: MakePool) -> None:
    """None are wanted: nothing is started, tasks are refused at once, and it cannot be evicted."""
    bench = make_pool(replicas=ReplicaPolicy(min=0, max=0))
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


async def test_fails_what_waits_when_its_last_replica_is_taken_away(make_pool: MakePool) -> None:
    """What is in flight ends well; nobody would ever come for the rest."""
    bench = make_pool(ScriptedExecutor(max_tasks=1))
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


async def test_keeps_what_it_has_if_scaling_up_fails(make_pool: MakePool) -> None:
    """A further replica that does not load is undone; the others go on serving."""
    bench = make_pool()
    await bench.pool.start()
    bench.executor.refusal = OSError("no memory")
    with pytest.raises(ModelLoadError, match="no memory"):
        await bench.pool.scale(ReplicaPolicy(min=3, max=3))
    assert len(bench.pool.replicas) == 1
    assert bench.pool.state == "ready"


async def test_drains_all_that_was_accepted(make_pool: MakePool) -> None:
    """No new task is taken; every accepted one is settled, queued or in flight."""
    bench = make_pool(ScriptedExecutor(max_tasks=1))
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


async def test_drains_no_longer_than_the_grace(make_pool: MakePool) -> None:
    """A task that does not end in time is left to `stop`."""
    bench = make_pool()
    await bench.pool.start()
    bench.submit("a")
    await settle()
    await bench.pool.drain(0.0)
    assert len(bench.pool.replicas[0].holding.tasks) == 1


async def test_fails_all_that_is_left_when_it_stops(make_pool: MakePool) -> None:
    """Queued, in flight, or waiting for a place: each caller is told, no timer stays."""
    bench = make_pool(ScriptedExecutor(max_tasks=1), queue=QueuePolicy(max_size=1))
    await bench.pool.start()
    (running,) = bench.submit("a")
    await settle()
    (queued,) = bench.submit("b")
    patient = asyncio.ensure_future(bench.pool.submit_when_free(Task({}, {})))
    await settle()
    dispatcher = bench.pool._dispatcher
    dispatcher._timer = timer = asyncio.get_running_loop().call_later(1000.0, dispatcher.ask)
    await bench.pool.stop()
    await expect(running, NotServing)
    await expect(queued, NotServing)
    with pytest.raises(NotServing):
        await patient
    assert timer.cancelled()


# Devices


async def test_runs_the_tasks_of_a_dead_device_on_another(make_pool: MakePool) -> None:
    """A hint is no promise: what a device had when it died goes to those that are up."""
    bench = make_pool(devices=(CPU, CUDA))
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


async def test_notices_a_free_replica_beside_a_task_that_it_may_take(make_pool: MakePool) -> None:
    """The invariant of handing out is checked."""
    bench = make_pool()
    await bench.pool.start()
    task = Task({}, {})
    bench.pool.queue.add(task)
    bench.pool._accepted += 1
    with pytest.raises(AssertionError):
        bench.pool.check()
    bench.pool.cancel(task)


async def test_notices_when_its_count_is_wrong(make_pool: MakePool) -> None:
    """The invariant is checked, not only stated."""
    bench = make_pool()
    await bench.pool.start()
    bench.pool._accepted += 1
    with pytest.raises(AssertionError):
        bench.pool.check()
    bench.pool._accepted -= 1
