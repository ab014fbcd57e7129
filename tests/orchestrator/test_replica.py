"""Replica: what is in flight at one worker, its room, its health, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import deploy
from loom_fakes.scripted import ScriptedExecutor, ScriptedLink, settle, until

from torchloom import backoff, leaving
from torchloom import replica as replica_module
from torchloom.code_status import CodeState, CodeStatus
from torchloom.device import Device
from torchloom.engine import Occupancy
from torchloom.errors import (
    Cancelled,
    InvalidInput,
    ModelLoadError,
    NotServing,
    OutOfMemory,
    TaskFailed,
    TorchLoomError,
    WorkerDied,
)
from torchloom.orphans import MAX_DEATHS
from torchloom.replica import Replica
from torchloom.replica_state import ReplicaState, ReplicaStatus
from torchloom.sample import Sample
from torchloom.stats import Stats
from torchloom.task import Task, TaskState
from torchloom.wire import Close


class _Owner:
    """A pool that notes what it is told."""

    def __init__(self) -> None:
        self.orphans: list[Task] = []
        self.settled: list[Task] = []
        self.steps: list[tuple[int, float]] = []
        self.progress: list[tuple[str, float | None]] = []
        self.num_room = 0
        self.step_s = 0.0

    def on_room(self) -> None:
        self.num_room += 1

    def on_orphans(self, _: Replica, tasks: Sequence[Task]) -> None:
        self.orphans += tasks
        for task in tasks:
            task.move(TaskState.QUEUED)

    def on_settled(self, task: Task) -> None:
        assert task.is_final
        assert task not in self.settled
        self.settled.append(task)

    def on_step(self, _: str, size: int, seconds: float) -> None:
        self.steps.append((size, seconds))

    def expected_step_s(self, _: str, size: int) -> float:
        return self.step_s * size

    def on_progress(self, _: str, what: str, fraction: float | None) -> None:
        self.progress.append((what, fraction))


class _Bench:
    """A replica between an owner and a worker that the test plays."""

    def __init__(
        self, clock: ManualClock, executor: ScriptedExecutor, **limits: float | None
    ) -> None:
        self.clock = clock
        self.executor = executor
        self.owner = _Owner()
        self.stats = Stats()
        self.claims: list[tuple[Replica, int]] = []
        self.replica = Replica(
            deploy("open_echo", **limits),
            Device("auto"),
            executor,
            self.owner,
            self.stats,
            now=clock,
            on_claim=lambda replica, count: self.claims.append((replica, count)),
        )

    @property
    def link(self) -> ScriptedLink:
        return self.executor.link

    def dispatch(self, *texts: str, sink: Callable[[object], None] | None = None) -> list[Task]:
        tasks = [Task({"text": text}, {}, on_chunk=sink) for text in texts]
        for task in tasks:
            task.queued_at = self.clock()
        self.replica.dispatch(tasks)
        return tasks


@pytest.fixture
def bench(clock: ManualClock) -> _Bench:
    """Give a replica whose workers are ready at once, with room for four."""
    return _Bench(clock, ScriptedExecutor())


@pytest.fixture
def loading(clock: ManualClock) -> _Bench:
    """Give a replica whose workers are ready when the test says so."""
    return _Bench(clock, ScriptedExecutor(max_tasks=None))


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restart at once, so that no test waits; backoff has a test of its own."""
    monkeypatch.setattr(backoff, "_WAITS_S", (0.0,))


async def _fails_with(task: Task, kind: type[TorchLoomError]) -> str:
    with pytest.raises(kind) as failure:
        await task.outputs()
    assert type(failure.value) is kind
    return failure.value.message


# Starting


async def test_is_ready_when_its_worker_is(loading: _Bench) -> None:
    """Starting waits for the engine; then the replica knows device, room and loading time."""
    starting = asyncio.ensure_future(loading.replica.start())
    await settle()
    assert not starting.done()
    assert loading.replica.credits == 0
    loading.link.progress("loading", 0.5)
    loading.link.ready(max_tasks=3, notes=["cpu 1 ms"])
    await starting
    status = ReplicaStatus.of(loading.replica)
    assert status.notes == ("cpu 1 ms",)
    assert (status.state, status.device, status.max_tasks) == ("ready", "cpu", 3)
    assert (status.load_s, status.pid, status.error) == (0.5, 1, None)
    assert loading.owner.progress == [("loading", 0.5)]
    assert loading.owner.num_room == 1
    assert repr(loading.replica) == "<Replica echo@1 on cpu: ready, 0 of 3 in flight>"


async def test_lets_its_worker_load_when_there_is_room(loading: _Bench) -> None:
    """What it claims is passed on; granted, it counts as held; denied, nothing is loaded."""
    starting = asyncio.ensure_future(loading.replica.start())
    await until(lambda: bool(loading.executor.links))
    loading.link.claim(7)
    assert loading.claims == [(loading.replica, 7)]
    assert not loading.link.is_granted
    loading.replica.grant(7)
    assert loading.link.is_granted
    assert loading.replica.memory_bytes == 7
    loading.replica.deny(OutOfMemory("There is no room."))
    with pytest.raises(OutOfMemory, match="no room"):
        await starting
    assert loading.link.is_killed
    assert loading.replica.state is ReplicaState.STOPPED


async def test_shows_how_its_code_stands_until_its_worker_ends(loading: _Bench) -> None:
    """The latest word of the worker counts; that of one that has died does not."""
    starting = asyncio.ensure_future(loading.replica.start())
    await until(lambda: bool(loading.executor.links))
    loading.link.ready()
    await starting
    assert ReplicaStatus.of(loading.replica).code == ()
    states: tuple[CodeState, ...] = ("compiling", "compiled")
    for state in states:
        part = CodeStatus(part="all", state=state, num_compiled=1)
        loading.link.tell_code(part)
        assert ReplicaStatus.of(loading.replica).code == (part,)
    loading.link.end()
    await until(lambda: len(loading.executor.links) > 1)
    assert ReplicaStatus.of(loading.replica).code == ()
    await loading.replica.stop()


async def test_raises_what_kept_it_from_loading_and_does_not_try_again(loading: _Bench) -> None:
    """A model that does not load is given up, with its own reason."""
    starting = asyncio.ensure_future(loading.replica.start())
    await until(lambda: bool(loading.executor.links))
    loading.link.refuse(ModelLoadError("The weights are missing."))
    with pytest.raises(ModelLoadError, match=r"^The weights are missing\.$"):
        await starting
    await settle()
    assert loading.replica.state is ReplicaState.STOPPED
    assert len(loading.executor.links) == 1


async def test_raises_how_its_worker_ended_while_loading(loading: _Bench) -> None:
    """Where a worker dies without a word, how it died is the reason."""
    starting = asyncio.ensure_future(loading.replica.start())
    await until(lambda: bool(loading.executor.links))
    loading.link.end("exit code 3")
    with pytest.raises(ModelLoadError, match=r"model 'echo@1' ended: exit code 3\.") as raised:
        await starting
    assert raised.value.status == 500
    assert len(loading.executor.links) == 1


async def test_raises_if_no_worker_can_be_started(clock: ManualClock) -> None:
    """A system out of processes is a reason like any other."""
    bench = _Bench(clock, ScriptedExecutor(refusal=OSError("Resource temporarily unavailable")))
    with pytest.raises(ModelLoadError, match="could not be started: Resource temporarily"):
        await bench.replica.start()


async def test_raises_if_it_is_stopped_while_loading(loading: _Bench) -> None:
    """Whoever waits for it is told, and the worker is killed at once: it does not listen yet."""
    starting = asyncio.ensure_future(loading.replica.start())
    await until(lambda: bool(loading.executor.links))
    await loading.replica.stop()
    with pytest.raises(NotServing, match="was stopped while it was loading"):
        await starting
    assert loading.link.is_killed


async def test_leaves_no_worker_that_was_just_being_started(loading: _Bench) -> None:
    """Stopping waits for a start that is under way, and ends what comes of it."""
    started = asyncio.Event()
    start = loading.executor.start

    async def start_slowly(*arguments: object) -> ScriptedLink:
        await started.wait()
        return await start(*arguments)  # type: ignore[arg-type]  # as they came

    loading.executor.start = start_slowly  # type: ignore[method-assign]  # a slower one
    starting = asyncio.ensure_future(loading.replica.start())
    await settle()
    stopping = asyncio.ensure_future(loading.replica.stop())
    await settle()
    assert not stopping.done()
    started.set()
    await stopping
    assert loading.link.is_killed
    with pytest.raises(NotServing):
        await starting


# Room


async def test_gives_a_batch_engine_one_batch_at_a_time(bench: _Bench) -> None:
    """Room for a batch, and none until that is finished."""
    await bench.replica.start()
    assert bench.replica.credits == 4
    assert bench.replica.is_idle
    one, two = bench.dispatch("a", "b")
    assert bench.replica.credits == 0
    bench.link.answer(one.id, text="A")
    assert bench.replica.credits == 0
    bench.link.answer(two.id, text="B")
    assert bench.replica.credits == 4
    assert bench.link.texts == [["a", "b"]]


async def test_takes_a_batch_ahead_of_the_end_of_a_step(bench: _Bench) -> None:
    """The worker finds it there when it is done with the first; a third waits for its turn."""
    await bench.replica.start()
    bench.owner.step_s = 0.01
    (one,) = bench.dispatch("a")
    while not bench.replica.credits:  # noqa: ASYNC110 - what it tells its owner may be of another
        await asyncio.sleep(0.001)
    assert bench.replica.credits == 4
    two, three = bench.dispatch("b", "c")
    assert bench.replica.credits == 0
    bench.link.answer(one.id, text="A")
    assert bench.replica.credits == 0
    bench.link.answer(two.id, three.id, text="B")
    assert (bench.replica.credits, bench.replica.is_idle) == (4, True)


async def test_gives_a_continuous_engine_what_it_has_room_for(clock: ManualClock) -> None:
    """Tasks join while others are in the middle of theirs."""
    bench = _Bench(clock, ScriptedExecutor(max_tasks=3, is_continuous=True))
    await bench.replica.start()
    (one,) = bench.dispatch("a")
    assert bench.replica.credits == 2
    bench.dispatch("b", "c")
    assert bench.replica.credits == 0
    bench.link.answer(one.id)
    assert bench.replica.credits == 1


async def test_gives_nothing_more_to_an_engine_that_is_full(clock: ManualClock) -> None:
    """What would only wait there waits in the queue, for any replica; one that is empty is open."""
    bench = _Bench(clock, ScriptedExecutor(max_tasks=3, is_continuous=True))
    await bench.replica.start()
    (one,) = bench.dispatch("a")
    bench.link.tell_occupancy(Occupancy(is_full=True, num_waiting=1, blocks={"held": 7}))
    assert bench.replica.credits == 0
    assert bench.replica.holding.occupancy.blocks == {"held": 7}
    bench.link.tell_occupancy(Occupancy(is_full=False, num_preemptions=2))
    assert bench.replica.credits == 2
    bench.link.tell_occupancy(Occupancy(is_full=True, num_preemptions=5))
    bench.link.answer(one.id)
    assert bench.replica.credits == 3
    values = {each.metric.name: each.value for each in bench.stats.snapshot()}
    assert values["preemptions"] == 5
    assert "guessed_tokens" not in values


async def test_counts_what_an_engine_guesses(clock: ManualClock) -> None:
    """Tokens that were guessed and those that were right, none of which is a number as well."""
    bench = _Bench(clock, ScriptedExecutor(max_tasks=3, is_continuous=True))
    await bench.replica.start()
    found = []
    for guessed, accepted in ((4, 0), (4, 0), (9, 3)):
        bench.link.tell_occupancy(Occupancy(num_guessed=guessed, num_accepted=accepted))
        values = {each.metric.name: each.value for each in bench.stats.snapshot()}
        found.append((values["guessed_tokens"], values["accepted_tokens"]))

    assert found == [(4, 0), (4, 0), (9, 3)]


async def test_lets_a_suspect_run_alone(clock: ManualClock) -> None:
    """A task under which a worker has died gets no company."""
    bench = _Bench(clock, ScriptedExecutor(max_tasks=3, is_continuous=True))
    await bench.replica.start()
    suspect = Task({}, {})
    suspect.deaths = 1
    bench.replica.dispatch([suspect])
    assert bench.replica.credits == 0


# Work


async def test_settles_tasks_with_answers_and_failures(bench: _Bench) -> None:
    """Each task gets its own end, and time is measured from queue to answer."""
    await bench.replica.start()
    good, bad = bench.dispatch("a", "b")
    assert {good.state, bad.state} == {TaskState.RUNNING}
    bench.clock.advance(2.0)
    bench.link.answer(good.id, text="A", step_s=0.5)
    bench.link.fail(bad.id, TaskFailed("no"))
    assert await good.outputs() == {"text": "A"}
    assert await _fails_with(bad, TaskFailed) == "no"
    assert bench.owner.settled == [good, bad]
    assert bench.owner.steps == [(1, 0.5), (1, 0.1)]
    values = {s.metric.name: s.value for s in bench.stats.snapshot()}
    assert values["task_seconds"] == 4.0
    assert values["queue_seconds"] == 0.0


async def test_counts_what_answers_count(bench: _Bench) -> None:
    """Token counts of results become series."""
    await bench.replica.start()
    (task,) = bench.dispatch("a")
    bench.link.count(task.id, {"prompt_tokens": 7})
    assert bench.stats.counter("tokens", "echo", "1", "prompt").value == 7


async def test_passes_chunks_on_while_the_task_runs(bench: _Bench) -> None:
    """Chunks come in order; those for a task that is gone reach nobody."""
    await bench.replica.start()
    seen: list[object] = []
    (task,) = bench.dispatch("a", sink=seen.append)
    bench.link.chunk(task.id, "x")
    bench.link.chunk(task.id, "y")
    bench.replica.cancel(task)
    bench.link.chunk(task.id, "z")
    assert seen == [{"text": "x"}, {"text": "y"}]


async def test_fails_an_input_that_cannot_travel_alone(bench: _Bench) -> None:
    """A value that cannot be sent is its caller's fault; the rest of the batch goes."""
    await bench.replica.start()
    bad = Task({"text": object()}, {})
    worse = Task({"text": "\ud800"}, {})
    good = Task({"text": "a"}, {})
    bench.replica.dispatch([bad, good, worse])
    assert "An input cannot be sent" in await _fails_with(bad, InvalidInput)
    assert "surrogates" in await _fails_with(worse, InvalidInput)
    assert bench.link.batches == [[good.id]]
    bench.link.answer(good.id)
    assert bench.owner.settled == [bad, worse, good]


async def test_passes_over_frames_that_only_go_the_other_way(bench: _Bench) -> None:
    """A worker that sends what only the scheduler sends does no harm."""
    await bench.replica.start()
    bench.replica._on_frames([Close()])
    assert bench.replica.is_idle


# Cancellation


async def test_keeps_the_room_of_a_cancelled_task_until_the_engine_lets_go(bench: _Bench) -> None:
    """Cancellation is sent on; the place is free when the engine says so."""
    await bench.replica.start()
    (task,) = bench.dispatch("a")
    bench.replica.cancel(task)
    assert bench.link.cancelled == [task.id]
    assert bench.replica.holding.tasks == {}
    assert bench.replica.credits == 0
    assert not bench.replica.is_idle
    bench.link.let_go(task.id)
    assert bench.replica.credits == 4
    bench.replica.cancel(task)
    assert bench.link.cancelled == [task.id]


async def test_bears_an_answer_that_crosses_a_cancellation(bench: _Bench) -> None:
    """The answer frees the room, settles nothing twice, and the late Gone does no harm."""
    await bench.replica.start()
    (task,) = bench.dispatch("a")
    bench.replica.cancel(task)
    task.fail(Cancelled("left"), TaskState.CANCELLED)
    bench.link.answer(task.id, text="A")
    assert bench.replica.credits == 4
    bench.dispatch("b")
    bench.link.let_go(task.id)
    assert bench.replica.credits == 0
    assert bench.owner.settled == []


async def test_kills_a_worker_that_does_not_let_go(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled task that stays in its engine for too long means that it hangs."""
    monkeypatch.setattr(leaving, "HANG_S", 0.0)
    await bench.replica.start()
    hung, other = bench.dispatch("a", "b")
    link = bench.link
    bench.replica.cancel(hung)
    await until(lambda: link.is_killed)
    await until(lambda: bench.replica.state is ReplicaState.READY)
    assert bench.owner.orphans == [other]
    assert bench.replica.credits == 4


class _Watchdog:
    """A watchdog that barks when the test says so."""

    def __init__(self, on_late: Callable[[], None]) -> None:
        self.bark = on_late
        self.limit_s: float | None = None
        self.num_begun = 0

    def begin(self, limit_s: float | None) -> None:
        self.limit_s = limit_s
        self.num_begun += 1

    def end(self) -> None:
        self.limit_s = None


@pytest.fixture
def watchdog(monkeypatch: pytest.MonkeyPatch) -> Callable[[], _Watchdog]:
    """Give the watchdog of the replica that is made next, once it is made."""
    made: list[_Watchdog] = []

    def make(on_late: Callable[[], None]) -> _Watchdog:
        made.append(_Watchdog(on_late))
        return made[-1]

    monkeypatch.setattr(replica_module, "Watchdog", make)
    return lambda: made[-1]


async def test_kills_a_worker_whose_step_does_not_end(
    clock: ManualClock, watchdog: Callable[[], _Watchdog]
) -> None:
    """Its callers are told; what waits there for its turn is given back; the worker starts anew."""
    bench = _Bench(clock, ScriptedExecutor(), step_timeout_s=7.0)
    await bench.replica.start()
    one, other, gone = bench.dispatch("a", "b", "c")
    link = bench.link
    bench.replica.cancel(gone)
    (ahead,) = bench.dispatch("d")
    assert (watchdog().limit_s, watchdog().num_begun) == (7.0, 2)
    watchdog().bark()
    message = await _fails_with(one, WorkerDied)
    assert message == "The worker of 'echo@1' was killed: it had not ended a step within 7.0 s."
    await _fails_with(other, WorkerDied)
    assert link.is_killed
    assert bench.owner.orphans == [ahead]
    await until(lambda: bench.replica.is_idle)
    assert (bench.replica.restarts, watchdog().limit_s) == (1, None)


async def test_kills_a_worker_of_a_continuous_engine_that_hangs(
    clock: ManualClock, watchdog: Callable[[], _Watchdog]
) -> None:
    """All that it holds may be what it hangs on."""
    bench = _Bench(clock, ScriptedExecutor(is_continuous=True), step_timeout_s=7.0)
    await bench.replica.start()
    tasks = [*bench.dispatch("a"), *bench.dispatch("b")]
    watchdog().bark()
    for task in tasks:
        await _fails_with(task, WorkerDied)
    assert bench.owner.orphans == []


async def test_lets_a_worker_be_that_goes_on(
    clock: ManualClock, watchdog: Callable[[], _Watchdog]
) -> None:
    """Each sign of life gives it its time anew; one that has nothing to do owes none."""
    bench = _Bench(clock, ScriptedExecutor(), step_timeout_s=7.0)
    await bench.replica.start()
    (task,) = bench.dispatch("a", sink=lambda _: None)
    begun = watchdog().num_begun
    bench.link.chunk(task.id, "on and on")
    assert (watchdog().limit_s, watchdog().num_begun) == (7.0, begun + 1)
    bench.link.answer(task.id, text="A")
    assert watchdog().limit_s is None
    bench.dispatch("b")
    assert watchdog().limit_s == 7.0
    bench.link.answer_all(text="B")
    assert watchdog().limit_s is None


async def test_kills_a_worker_that_does_not_load(
    clock: ManualClock, watchdog: Callable[[], _Watchdog]
) -> None:
    """The first is given up, with what it was that did not happen."""
    bench = _Bench(clock, ScriptedExecutor(max_tasks=None), load_timeout_s=9.0)
    starting = asyncio.ensure_future(bench.replica.start())
    await until(lambda: watchdog().limit_s == 9.0)
    watchdog().bark()
    with pytest.raises(ModelLoadError, match=r"had not loaded within 9\.0 s"):
        await starting
    assert bench.link.is_killed
    assert (bench.replica.state, watchdog().limit_s) == (ReplicaState.STOPPED, None)


async def test_starts_another_worker_for_one_that_does_not_load_again(
    clock: ManualClock, watchdog: Callable[[], _Watchdog]
) -> None:
    """A worker that hangs as it is started again is killed, too."""
    executor = ScriptedExecutor()
    bench = _Bench(clock, executor, load_timeout_s=9.0)
    await bench.replica.start()
    assert watchdog().limit_s is None
    executor.max_tasks = None
    bench.link.end()
    await until(lambda: watchdog().limit_s == 9.0)
    slow = bench.link
    watchdog().bark()
    assert slow.is_killed
    await until(lambda: len(executor.links) == 3)
    await settle()
    bench.link.ready()
    assert (bench.replica.state, bench.replica.error) == (ReplicaState.READY, None)


async def test_leaves_no_timer_behind_a_cancellation(bench: _Bench) -> None:
    """Cancellations by the thousand leave nothing, whether they were let go or the worker ended."""
    await bench.replica.start()
    one, two = bench.dispatch("a", "b")
    bench.replica.cancel(one)
    bench.replica.cancel(two)
    bench.link.let_go(one.id)
    bench.link.end()
    assert len(bench.replica.holding._leaving.timers) == 0


# Death


async def test_starts_a_worker_again_and_gives_its_tasks_back(bench: _Bench) -> None:
    """A worker that dies takes no task with it: they are queued again, under suspicion."""
    await bench.replica.start()
    tasks = bench.dispatch("a", "b")
    bench.link.end("signal SIGSEGV")
    assert bench.owner.orphans == tasks
    assert [task.deaths for task in tasks] == [1, 1]
    waiting = ReplicaStatus.of(bench.replica)
    assert (waiting.state, waiting.pid) == ("waiting", None)
    assert waiting.error == "The worker of model 'echo@1' ended: signal SIGSEGV."
    await until(lambda: bench.replica.state is ReplicaState.READY)
    status = ReplicaStatus.of(bench.replica)
    assert (status.restarts, status.pid, status.error) == (1, 2, None)
    assert bench.stats.counter("worker_restarts", "echo", "1").value == 1


async def test_suspects_no_task_that_waited_for_its_turn(bench: _Bench) -> None:
    """Only the batch whose step ran may have killed the worker."""
    bench.owner.step_s = 0.001
    await bench.replica.start()
    (stepped,) = bench.dispatch("a")
    ahead = [*bench.dispatch("b"), *bench.dispatch("c")]
    bench.link.end("signal SIGSEGV")
    assert bench.owner.orphans == [stepped, *ahead]
    assert [task.deaths for task in (stepped, *ahead)] == [1, 0, 0]


async def test_gives_a_task_up_that_kills_again_and_again(bench: _Bench) -> None:
    """After so many deaths the task is the culprit."""
    await bench.replica.start()
    (task,) = bench.dispatch("a")
    for deaths in range(1, MAX_DEATHS):
        bench.link.end()
        assert task.deaths == deaths
        await until(lambda: bench.replica.is_idle)
        bench.replica.dispatch([task])
    bench.link.end("exit code 1")
    message = await _fails_with(task, WorkerDied)
    assert message == "The worker of 'echo@1' ended (exit code 1) again and again."
    assert bench.owner.settled == [task]


async def test_fails_a_task_that_had_begun_to_answer(bench: _Bench) -> None:
    """What its caller has seen of it cannot be taken back: it fails clearly."""
    await bench.replica.start()
    (shown,) = bench.dispatch("a", sink=lambda _: None)
    bench.link.chunk(shown.id, "x")
    bench.link.end("signal SIGKILL")
    assert "after it had begun to answer" in await _fails_with(shown, WorkerDied)
    assert bench.owner.orphans == []


async def test_waits_longer_each_time_before_it_starts_a_worker_again(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, then with growing delay up to a bound; a worker that has worked starts over."""
    monkeypatch.undo()
    delays: list[float] = []
    loop = asyncio.get_running_loop()

    def call_soon(delay_s: float, function: Callable[[], None]) -> asyncio.Handle:
        delays.append(delay_s)
        if len(delays) == 10:
            bench.executor.refusal = None
        return loop.call_soon(function)

    await bench.replica.start()
    monkeypatch.setattr(loop, "call_later", call_soon)
    bench.executor.refusal = OSError("no memory")
    bench.link.end()
    await until(lambda: bench.replica.is_idle)
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert bench.replica.restarts == 10
    bench.link.end()
    await until(lambda: bench.replica.is_idle)
    assert delays[-1] == 30.0  # it was ready, and had done nothing
    (task,) = bench.dispatch("a")
    bench.link.answer(task.id, text="A")
    bench.link.end()
    assert delays[-1] == 0.0
    await bench.replica.stop()


async def test_keeps_saying_why_it_cannot_start_again(bench: _Bench) -> None:
    """While a worker cannot be started again, the reason is there to be read."""
    await bench.replica.start()
    bench.executor.max_tasks = None
    bench.link.end()
    await until(lambda: len(bench.executor.links) == 2)
    assert bench.replica.state is ReplicaState.STARTING
    bench.link.refuse(ModelLoadError("The disk has gone."))
    assert ReplicaStatus.of(bench.replica).error == "The disk has gone."
    await bench.replica.stop()


# Ending


async def test_can_be_stopped_before_it_was_started(bench: _Bench) -> None:
    """Where a sibling fails first, a replica may never have begun."""
    await bench.replica.stop()
    assert bench.replica.state is ReplicaState.STOPPED
    assert bench.executor.links == []


async def test_asks_a_worker_to_end_and_waits_for_it(bench: _Bench) -> None:
    """Asked to close, it ends; tasks in flight are told why."""
    await bench.replica.start()
    (task,) = bench.dispatch("a")
    await bench.replica.stop()
    assert bench.link.is_asked_to_close
    assert not bench.link.is_killed
    assert await _fails_with(task, NotServing) == "The model is being stopped."
    assert bench.owner.settled == [task]
    assert bench.replica.state is ReplicaState.STOPPED
    await bench.replica.stop()


async def test_kills_a_worker_that_does_not_end_when_asked(clock: ManualClock) -> None:
    """After the grace it is killed, and waited for."""
    bench = _Bench(clock, ScriptedExecutor(obeys=False))
    await bench.replica.start()
    await bench.replica.stop(grace_s=0.0)
    assert bench.link.is_asked_to_close
    assert bench.link.is_killed


async def test_does_not_start_again_after_its_end(bench: _Bench) -> None:
    """Stopped while it waits for its restart, it stays stopped."""
    await bench.replica.start()
    bench.link.end()
    await bench.replica.stop()
    bench.replica._restart()
    await settle()
    assert len(bench.executor.links) == 1


async def test_stops_while_it_starts_again(bench: _Bench) -> None:
    """A worker that is loading again is killed, not asked."""
    await bench.replica.start()
    bench.executor.max_tasks = None
    bench.link.end()
    await until(lambda: len(bench.executor.links) == 2)
    await bench.replica.stop()
    assert bench.link.is_killed
    assert bench.replica.state is ReplicaState.STOPPED


async def test_finishes_what_it_has_when_it_drains(bench: _Bench) -> None:
    """Draining takes nothing new, and is over when nothing is in flight."""
    await bench.replica.start()
    one, two = bench.dispatch("a", "b")
    bench.replica.drain()
    assert bench.replica.credits == 0
    empty = asyncio.ensure_future(bench.replica.holding.wait_empty())
    bench.link.answer(one.id)
    await settle()
    assert not empty.done()
    bench.link.answer(two.id)
    await empty
    await bench.replica.stop()


async def test_is_empty_when_the_last_task_was_cancelled(bench: _Bench) -> None:
    """A caller who leaves does not keep a replica from draining."""
    await bench.replica.start()
    (task,) = bench.dispatch("a")
    bench.replica.drain()
    empty = asyncio.ensure_future(bench.replica.holding.wait_empty())
    await settle()
    bench.replica.cancel(task)
    await until(empty.done)


async def test_gives_its_tasks_back_if_its_worker_dies_while_it_drains(bench: _Bench) -> None:
    """Scaled down and killed at once: nothing is lost, and no worker is started again."""
    await bench.replica.start()
    tasks = bench.dispatch("a", "b")
    bench.replica.drain()
    bench.link.end()
    assert bench.owner.orphans == tasks
    await bench.replica.holding.wait_empty()
    await bench.replica.stop()
    assert len(bench.executor.links) == 1


async def test_drains_at_once_if_it_is_not_serving(loading: _Bench) -> None:
    """One that is still loading has nothing to finish."""
    starting = asyncio.ensure_future(loading.replica.start())
    await until(lambda: bool(loading.executor.links))
    loading.replica.drain()
    loading.replica.drain()
    assert loading.replica.state is ReplicaState.STOPPED
    loading.link.ready()
    assert loading.replica.state is ReplicaState.STOPPED
    with pytest.raises(NotServing):
        await starting
    await loading.replica.stop()
    assert loading.link.is_over


async def test_adds_what_its_model_has_measured_to_the_readings(bench: _Bench) -> None:
    """Samples belong to the model and its version."""
    await bench.replica.start()
    bench.link.measure(
        Sample("a", "counter", "Count", {}, 2), Sample("a", "counter", "Count", {}, 1)
    )
    (reading,) = bench.stats.readings.snapshot()

    assert (reading.model, reading.version, reading.value) == ("echo", 1, 3)
