"""Sessions: tasks that belong together, and the one replica that works on all of a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import deploy
from loom_fakes.scripted import ScriptedExecutor, ScriptedLink, settle

from torchloom import backoff
from torchloom.device import Device
from torchloom.errors import NotServing, QueueFull, WorkerDied
from torchloom.policy import ReplicaPolicy, SessionPolicy
from torchloom.pool import Pool
from torchloom.session import named_session
from torchloom.stats import Stats
from torchloom.task import Task, TaskState


PATHS = (("session",), ("headers", "x-session"))


class _Bench:
    """A pool of workers that the test plays, and whose engines keep sessions."""

    def __init__(self, clock: ManualClock, executor: ScriptedExecutor, pool: Pool) -> None:
        self.clock = clock
        self.executor = executor
        self.pool = pool

    @property
    def links(self) -> list[ScriptedLink]:
        return self.executor.links

    def submit(self, session: str, text: str = "", **options: object) -> Task:
        params = {"session": session} if session else {}
        task = Task({"text": text or session}, params, **options)  # type: ignore[arg-type]  # tests give any
        self.pool.submit(task)
        return task

    async def open(self, *names: str) -> None:
        """Begin sessions, each with one task that has its answer."""
        for name in names:
            task = self.submit(name)
            await settle()
            self.at(name).answer(task.id)
            await settle()

    def at(self, name: str) -> ScriptedLink:
        """Give the worker that was last sent something of a session."""
        return [link for link in self.links if name in link.sessions][-1]


Make = Callable[..., Awaitable[_Bench]]


@pytest.fixture
async def make(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Give a maker of started pools; the invariant holds at the end, and still after a stop."""
    monkeypatch.setattr(backoff, "_WAITS_S", (0.0,))
    made: list[_Bench] = []

    async def make(
        num_replicas: int = 1, *, max_tasks: int = 8, devices: int = 1, **limits: object
    ) -> _Bench:
        policy = SessionPolicy(**{"max_open": 4, **limits})  # type: ignore[arg-type]  # tests give any
        executor = ScriptedExecutor(max_tasks=max_tasks, is_continuous=True, sessions=policy)
        places = tuple(Device("cuda", str(n)) for n in range(devices)) if devices > 1 else ()
        deployment = deploy(
            "open_echo",
            replicas=ReplicaPolicy(min=num_replicas, max=num_replicas),
            devices=places or (Device("cpu"),),
            session_paths=PATHS,
        )
        pool = Pool(deployment, executor, Stats(), now=clock)
        await pool.start()
        made.append(_Bench(clock, executor, pool))
        return made[-1]

    yield make
    for bench in made:
        bench.pool.check()
        await bench.pool.stop()
        bench.pool.check()


async def _expect(task: Task, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        await task.outputs()


# Where they go


async def test_sends_all_of_a_session_to_one_replica(make: Make) -> None:
    """Also where another has more room; different sessions are spread over all of them."""
    bench = await make(2)
    for number in "123":
        bench.submit("a", f"a{number}")
    for name in "bc":
        bench.submit(name, f"{name}1")
    bench.submit("b", "b2")
    await settle()
    texts = [[text for batch in link.texts for text in batch] for link in bench.links]

    assert sorted(texts) == [["a1", "a2", "a3", "c1"], ["b1", "b2"]]
    assert bench.at("a").sessions == ["a", "a", "a", "c"]


async def test_keeps_the_order_of_a_session(make: Make) -> None:
    """Whatever priority and deadline say."""
    bench = await make(max_tasks=1)
    first = bench.submit("a", "1")
    await settle()
    second = bench.submit("a", "2")
    third = bench.submit("a", "3", priority=10, deadline=bench.clock() + 1)
    for task in (first, second, third):
        bench.links[0].answer(task.id)
        await settle()

    assert bench.links[0].texts == [["1"], ["2"], ["3"]]


async def test_prefers_the_device_that_is_wished_for(make: Make) -> None:
    """For a session that begins; later ones go where it is."""
    bench = await make(devices=2)
    bench.submit("a", device="cuda:1")
    await settle()
    bench.submit("a", device="cuda:0")
    await settle()

    assert [link.sessions for link in bench.links] == [[], ["a", "a"]]


async def test_begins_a_session_for_a_task_that_names_none(make: Make) -> None:
    """It gets a name of its own, which the engine is told."""
    bench = await make(prefix="own-")
    one, other = bench.submit(""), bench.submit("")
    await settle()

    assert bench.links[0].sessions == [one.session, other.session]
    assert one.session.startswith("own-")
    assert one.session != other.session


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"session": "a", "headers": {"x-session": "b"}}, "a"),
        ({"session": "", "headers": {"X-Session": "b"}}, "b"),
        ({"session": 3, "headers": "none"}, ""),
        ({"headers": {"other": "b"}}, ""),
        ({}, ""),
    ],
)
def test_finds_what_a_task_belongs_to(params: dict[str, object], name: str) -> None:
    """At the first place that has a text; headers may be spelled in any case."""
    assert named_session(params, PATHS) == name


async def test_knows_no_sessions_where_the_engine_keeps_none(clock: ManualClock) -> None:
    """Whatever the params say, any replica may take any task."""
    executor = ScriptedExecutor()
    pool = Pool(deploy("open_echo", session_paths=PATHS), executor, Stats(), now=clock)
    await pool.start()
    task = Task({"text": "a"}, {"session": "a"})
    pool.submit(task)
    await settle()
    pool.check()
    await pool.stop()

    assert (task.session, executor.link.sessions) == ("", [""])


# How many, and for how long


async def test_bounds_the_sessions_of_all_replicas_together(make: Make) -> None:
    """One more is refused; those that are open go on."""
    bench = await make(2, max_open=2)
    await bench.open("a", "b")

    with pytest.raises(QueueFull, match="Model 'echo@1': 2 sessions are open"):
        bench.submit("c")
    bench.submit("a")
    assert len(bench.pool.sessions) == 2


async def test_bounds_what_waits_of_each_session(make: Make) -> None:
    """Behind the one in hand. Others are not touched, and an answer makes room."""
    bench = await make(max_waiting=2)
    first, *_ = [bench.submit("a") for _ in range(3)]
    await settle()

    with pytest.raises(QueueFull, match="Model 'echo@1': 2 tasks of session 'a' wait"):
        bench.submit("a")
    bench.submit("b")
    bench.at("a").answer(first.id)
    await settle()
    bench.submit("a")


async def test_frees_the_place_of_one_that_the_engine_ends(make: Make) -> None:
    """Its own, or others that it works on; not those of another worker."""
    bench = await make(2, max_open=3)
    await bench.open("a", "b", "c")  # a and c are at one worker
    task = bench.submit("a")
    await settle()
    bench.at("a").end_sessions(task.id, "a", "c", "b", "none")
    await settle()

    assert len(bench.pool.sessions) == 1
    bench.submit("d")
    bench.submit("e")


@pytest.mark.parametrize("how", ["fail", "cancel"])
async def test_frees_the_place_of_one_that_never_had_an_answer(make: Make, how: str) -> None:
    """Its first task has failed, or was given up."""
    bench = await make(max_open=1)
    task = bench.submit("a")
    await settle()
    if how == "fail":
        bench.links[0].fail(task.id)
    else:
        bench.pool.cancel(task)
        bench.links[0].let_go(task.id)

    bench.submit("b")


async def test_keeps_one_whose_later_task_fails(make: Make) -> None:
    """What its worker has of it is still there."""
    bench = await make(max_open=1)
    await bench.open("a")
    task = bench.submit("a")
    await settle()
    bench.links[0].fail(task.id)

    with pytest.raises(QueueFull):
        bench.submit("b")


async def test_begins_anew_with_what_was_sent_behind_its_end(make: Make) -> None:
    """At the same worker; if that fails there is nothing left of it."""
    bench = await make(max_open=1)
    one, other = bench.submit("a"), bench.submit("a")
    await settle()
    bench.links[0].end_sessions(one.id, "a")
    assert len(bench.pool.sessions) == 1
    bench.links[0].fail(other.id)

    assert len(bench.pool.sessions) == 0


@pytest.mark.parametrize(
    ("limits", "waits_s", "is_open"),
    [
        ({"max_idle_s": 1}, [0.9, 0.9], True),
        ({"max_idle_s": 1}, [1.1], False),
        ({"max_life_s": 1}, [0.6, 0.6], False),
        ({}, [1e9], True),
    ],
)
async def test_ends_what_is_idle_or_old(
    make: Make, limits: dict[str, float], waits_s: list[float], *, is_open: bool
) -> None:
    """Each answer begins the time of idleness anew, but not that of its life."""
    bench = await make(max_open=1, **limits)
    await bench.open("a")
    for wait_s in waits_s[:-1]:
        bench.clock.advance(wait_s)
        await bench.open("a")
    bench.clock.advance(waits_s[-1])

    assert len(bench.pool.sessions) == is_open
    if not is_open:
        bench.submit("b")


async def test_begins_anew_what_has_expired(make: Make) -> None:
    """Its name is not taken, and its worker may be another."""
    bench = await make(2, max_idle_s=1)
    await bench.open("a")
    bench.clock.advance(2)
    bench.submit("b")
    bench.submit("a")
    await settle()

    assert [link.sessions for link in bench.links] == [["a", "b"], ["a"]]


async def test_keeps_one_whose_task_is_worked_on(make: Make) -> None:
    """A slow answer does not end it."""
    bench = await make(max_idle_s=1)
    task = bench.submit("a")
    await settle()
    bench.clock.advance(100)

    assert len(bench.pool.sessions) == 1
    bench.links[0].answer(task.id)
    assert len(bench.pool.sessions) == 1


async def test_is_not_idle_while_a_session_is_open(make: Make) -> None:
    """What its worker has kept would be lost if it were evicted."""
    bench = await make(max_idle_s=1)
    assert bench.pool.is_idle
    await bench.open("a")

    assert not bench.pool.is_idle
    bench.clock.advance(2)
    assert bench.pool.is_idle


# Workers that die


async def test_fails_what_is_in_hand_when_its_worker_dies(make: Make) -> None:
    """Sent or waiting: nobody else knows what was before. Who was told may begin anew."""
    bench = await make(2, max_tasks=1)
    await bench.open("a", "b")
    sent, waiting, other = bench.submit("a"), bench.submit("a"), bench.submit("b")
    await settle()
    bench.at("a").end()
    for task in (sent, waiting):
        await _expect(task, WorkerDied, "with it what it had kept of session 'a': begin that anew")
    await settle()
    bench.submit("a", "anew")
    await settle()

    assert other.state is TaskState.RUNNING
    assert bench.at("a").texts[-1] == ["anew"]


async def test_tells_the_next_task_of_what_was_lost(make: Make) -> None:
    """Once, where none was in hand; the one after that begins it anew, and others are not told."""
    bench = await make(max_open=2)
    await bench.open("a")
    bench.links[0].end()
    await settle()
    bench.submit("b")

    with pytest.raises(WorkerDied, match="session 'a'"):
        bench.submit("a")
    bench.submit("a")
    await settle()
    assert bench.links[1].sessions == ["b", "a"]


async def test_begins_elsewhere_what_had_no_answer_yet(make: Make) -> None:
    """There was nothing to lose: its tasks go to another worker, in their order."""
    bench = await make(2, max_tasks=1)
    one, other = bench.submit("a", "1"), bench.submit("a", "2")
    await settle()
    bench.links[0].end()
    await settle()
    bench.at("a").answer(one.id)
    await settle()
    bench.at("a").answer(other.id)
    await settle()

    assert (one.state, other.state) == (TaskState.DONE, TaskState.DONE)
    assert bench.at("a").texts == [["1"], ["2"]]


async def test_does_not_tell_twice_of_a_worker_that_was_killed_for_its_step(make: Make) -> None:
    """The task of that step has been told; the session begins anew with the next."""
    bench = await make()
    await bench.open("a")
    bench.submit("a")
    await settle()
    (replica,) = bench.pool.replicas
    replica._on_late()  # the watchdog's time is real
    await settle()
    bench.submit("a", "anew")
    await settle()

    assert bench.links[-1].texts == [["anew"]]


async def test_waits_for_a_worker_where_none_is_ready(make: Make) -> None:
    """Whichever is ready first gets it, and all of it."""
    bench = await make()
    bench.executor.max_tasks = None
    bench.links[0].end()
    await settle()
    for text in "12":
        bench.submit("a", text)
    await settle()
    bench.links[1].ready(8, is_continuous=True, sessions=SessionPolicy())
    await settle()

    assert bench.links[1].texts == [["1", "2"]]


# Workers that are taken away


async def test_takes_away_the_worker_with_the_fewest_sessions(make: Make) -> None:
    """Those of the others are not touched."""
    bench = await make(2)
    await bench.open("a", "b", "c")
    await bench.pool.scale(ReplicaPolicy(min=1, max=1))
    bench.submit("a")
    bench.submit("c")
    await settle()

    assert bench.at("a").sessions == ["a", "c", "a", "c"]
    with pytest.raises(NotServing, match="taken away, and with it what it had kept of session 'b'"):
        bench.submit("b")
    bench.submit("b")
    await settle()
    assert bench.at("a").sessions[-1] == "b"


async def test_finishes_what_it_was_sent_and_fails_what_waits(make: Make) -> None:
    """What waits of a session that had begun can be done by nobody else."""
    bench = await make(max_tasks=1)
    await bench.open("a")
    sent, waiting = bench.submit("a", "1"), bench.submit("a", "2")
    await settle()
    scaled = asyncio.ensure_future(bench.pool.scale(ReplicaPolicy(min=0, max=0)))
    await settle()
    await _expect(waiting, NotServing, "taken away")
    bench.links[0].answer(sent.id)
    await scaled

    assert sent.state is TaskState.DONE


async def test_leaves_nothing_of_a_worker_that_dies_as_it_is_taken_away(make: Make) -> None:
    """Its tasks fail, also where their session has begun anew elsewhere."""
    bench = await make(2)
    await bench.open("a", "b", "c")
    sent = bench.submit("b", "old")
    await settle()
    scaled = asyncio.ensure_future(bench.pool.scale(ReplicaPolicy(min=1, max=1)))
    await settle()
    with pytest.raises(NotServing):
        bench.submit("b")
    anew = bench.submit("b", "new")
    await settle()
    next(link for link in bench.links if ["old"] in link.texts).end()
    await _expect(sent, WorkerDied, "session 'b'")
    await scaled

    assert anew.state is TaskState.RUNNING


# With a number that follows the load


async def test_gives_new_sessions_to_a_replica_that_came_for_the_load(make: Make) -> None:
    """What waits for a busy worker stays there; the next sessions begin where there is room."""
    bench = await make(max_tasks=1)
    await bench.pool.scale(ReplicaPolicy(min=1, max=2, wait_s=5.0, idle_s=60.0))
    first, second = bench.submit("a", "1"), bench.submit("a", "2")
    await settle()
    bench.pool.fleet.autoscaler.look()
    bench.clock.advance(6.0)
    bench.pool.fleet.autoscaler.look()
    await settle()
    assert len(bench.links) == 2
    new = bench.submit("b")
    await settle()
    assert [link.sessions for link in bench.links] == [["a"], ["b"]]
    bench.links[0].answer(first.id)
    await settle()
    assert [link.sessions for link in bench.links] == [["a", "a"], ["b"]]
    bench.links[0].answer(second.id)
    bench.links[1].answer(new.id)


async def test_takes_no_worker_away_for_the_load_that_keeps_a_session(make: Make) -> None:
    """One goes as soon as it keeps none."""
    bench = await make(2, max_idle_s=100.0)
    await bench.pool.scale(ReplicaPolicy(min=1, max=2, wait_s=5.0, idle_s=10.0))
    await bench.open("a", "b")
    for _ in range(3):
        bench.clock.advance(11.0)
        bench.pool.fleet.autoscaler.look()
        await settle()
    assert len(bench.pool.replicas) == 2
    await bench.open("a")
    bench.clock.advance(80.0)  # "b" has expired
    bench.pool.fleet.autoscaler.look()
    await settle()
    bench.clock.advance(11.0)
    bench.pool.fleet.autoscaler.look()
    await settle()
    assert len(bench.pool.replicas) == 1
    bench.submit("a")
    await settle()
    assert bench.at("a").sessions == ["a", "a", "a"]
    bench.at("a").answer_all()
