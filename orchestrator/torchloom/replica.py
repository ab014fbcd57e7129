"""Replica: the scheduler's end of one worker: its start and end, its health, and what it tells.

Knows neither the queue nor the other replicas: it tells its owner when it has room, when tasks must
be queued again, what steps cost, and how loading goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from torchloom.backoff import Backoff
from torchloom.code_status import CodeStatus
from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.ending import to_load_error
from torchloom.errors import InvalidInput, ModelLoadError, NotServing, TorchLoomError, WorkerDied
from torchloom.executor import Executor, Link
from torchloom.holding import Holding
from torchloom.leaving import Leaving
from torchloom.orphans import count_death
from torchloom.owner import Owner
from torchloom.replica_series import ReplicaSeries
from torchloom.replica_state import TRANSITIONS, ReplicaState
from torchloom.setting import Settings
from torchloom.stats import Stats
from torchloom.task import Task, TaskState
from torchloom.telling import Telling
from torchloom.turns import Turns
from torchloom.watchdog import Watchdog
from torchloom.wire import (
    Admit,
    AnyFrame,
    Applied,
    Broken,
    Cancel,
    ChunkEvent,
    Claim,
    Close,
    Code,
    Events,
    GoneEvent,
    Grant,
    Progress,
    Ready,
    ResultEvent,
    WireEvent,
    from_error,
    unsendable,
)


_log = logging.getLogger(__name__)


class Replica:
    """One worker of a pool, started again whenever it dies."""

    def __init__(
        self,
        deployment: Deployment,
        device: Device,
        executor: Executor,
        owner: Owner,
        stats: Stats,
        *,
        now: Callable[[], float],
        on_claim: Callable[[Replica, int], None],
        settings: Settings | None = None,
    ) -> None:
        self.deployment = deployment
        self.device = str(device)
        self.state = ReplicaState.STARTING
        self.load_s = 0.0
        self.notes: tuple[str, ...] = ()
        self.code: tuple[CodeStatus, ...] = ()
        #: What its worker holds of its device's memory, or is expected to.
        self.memory_bytes = deployment.estimated_bytes
        self.restarts = 0
        self.error: TorchLoomError | None = None
        self.wanted_device = device
        self.holding = Holding(
            Turns(lambda size: owner.expected_step_s(self.device, size), owner.on_room),
            Leaving(self._kill_hung, deployment.step_timeout_s),
        )
        self._watchdog = Watchdog(self._on_late)
        self._executor = executor
        self._owner = owner
        self._stats = stats
        self._now = now
        self._on_claim = on_claim
        self.telling = Telling(deployment.label, {} if settings is None else settings)
        self._link: Link | None = None
        self._backoff = Backoff(self._restart)
        self._starting: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._has_served = False
        self._is_loading = False
        self._series: ReplicaSeries  # from when it is ready on: a device is known then

    def __repr__(self) -> str:
        """Say where it runs, its state and its load."""
        load = f"{len(self.holding.tasks)} of {self.holding.room.max_tasks} in flight"
        return f"<Replica {self.deployment.label} on {self.device}: {self.state.value}, {load}>"

    @property
    def pid(self) -> int | None:
        """The worker's process."""
        return self._link.pid if self._link else None

    @property
    def credits(self) -> int:
        """How many tasks it can be given now."""
        return self.holding.credits if self.state is ReplicaState.READY else 0

    @property
    def is_idle(self) -> bool:
        """Tell whether it is ready and holds nothing."""
        return self.state is ReplicaState.READY and self.holding.is_empty

    # Starting and ending

    async def start(self) -> None:
        """Start the worker; returns when it is ready. Raises what kept it from loading."""
        self._begin()
        assert self._starting is not None
        await asyncio.shield(self._starting)
        await self._settled.wait()
        if self.error is not None:
            raise self.error
        if not self._has_served:
            raise NotServing(f"Model {self.deployment.label!r} was stopped while it was loading.")

    def _begin(self) -> None:
        self._is_loading, self.code = True, ()
        self._starting = asyncio.get_running_loop().create_task(self._launch())

    async def _launch(self) -> None:
        try:
            self._link = await self._executor.start(
                self.deployment, self.wanted_device, self._on_frames, self._on_end
            )
            self._watchdog.begin(self.deployment.load_timeout_s)
        except (OSError, RuntimeError, TypeError) as error:
            self._on_end(f"it could not be started: {error}")

    def grant(self, memory_bytes: int) -> None:
        """Let its worker load what it has claimed room for."""
        assert self._link is not None
        self.memory_bytes = memory_bytes
        self._link.send(Grant())

    def deny(self, error: TorchLoomError) -> None:
        """End its worker before it loads anything: there is no room."""
        assert self._link is not None
        self.error = error
        self._link.kill()

    def drain(self) -> None:
        """Take nothing new."""
        if self.state is ReplicaState.READY:
            self._move(ReplicaState.DRAINING)
        elif self.state in {ReplicaState.STARTING, ReplicaState.WAITING}:
            self._move(ReplicaState.STOPPED)
            self._settled.set()

    async def stop(self, grace_s: float = 5.0) -> None:
        """End the worker: asked first, killed after the grace, or at once while it still loads.

        Tasks still in flight fail.
        """
        self._backoff.cancel()
        if self.state is not ReplicaState.STOPPED:
            self._move(ReplicaState.STOPPED)
            self._settled.set()
        stopped = NotServing("The model is being stopped.", retry_after_s=1.0)
        self._fail_all(self.holding.take_all(), stopped)
        if self._starting is not None:
            await asyncio.wait([self._starting])
        link = self._link
        if link is None:
            return
        if self._is_loading:
            link.kill()
        link.send(Close())
        try:
            await asyncio.wait_for(link.wait(), grace_s)
        except TimeoutError:
            _log.warning("%r did not end when asked; it is killed.", self)
            link.kill()
            await link.wait()

    def _on_end(self, how: str) -> None:
        self._link = None
        self._watchdog.end()
        self.telling.end()
        stepped = self.holding.stepped
        orphans = self.holding.clear()
        if self.state is ReplicaState.STOPPED:
            return
        label = self.deployment.label
        self.error = self.error or to_load_error(label, how)
        _log.error("%r: the worker ended: %s.", self, how)
        if self._has_served and self.state is not ReplicaState.DRAINING:
            self._move(ReplicaState.WAITING)
            self._backoff.schedule()
        else:
            self._move(ReplicaState.STOPPED)
        self._settled.set()
        for task, died in count_death([each for each in orphans if each.id in stepped], label, how):
            self._fail_all([task], died)
        self._owner.on_orphans(self, [task for task in orphans if not task.is_final])

    def _restart(self) -> None:
        if self.state is not ReplicaState.WAITING:
            return
        self._move(ReplicaState.STARTING)
        self.restarts += 1
        self._series.restarts.add()
        self._begin()

    def _move(self, to: ReplicaState) -> None:
        assert to in TRANSITIONS[self.state], f"{self.state} to {to}"
        self.state = to

    # Work

    def dispatch(self, tasks: Sequence[Task]) -> None:
        """Send tasks to the worker; the caller has seen that there is room."""
        now = self._now()
        work = []
        was_idle = self.holding.is_empty
        for task in tasks:
            task.move(TaskState.RUNNING)
            task.started_at = now
            self._series.queue_seconds.observe(now - task.queued_at)
            work.append((task.id, dict(task.inputs), dict(task.params), task.on_chunk is not None))
        self.holding.add(tasks)
        assert self._link is not None
        sessions = {task.id: task.session for task in tasks if task.session}
        try:
            self._link.send(Admit(work, sessions))
        except TypeError:
            faults = unsendable(work)
            for item in (each for each in work if each[0] not in faults):
                self._link.send(Admit([item], sessions))
            for task in tasks:
                if task.id in faults:
                    self.holding.settle(task.id)
                    self._fail_all([task], InvalidInput(faults[task.id]))
        if was_idle:
            self._watch_step()

    def _watch_step(self) -> None:
        """Give the worker its time anew, if it has something to do."""
        limit_s = None if self.holding.is_empty else self.deployment.step_timeout_s
        self._watchdog.begin(limit_s)

    def cancel(self, task: Task) -> None:
        """Forget a task in flight; its room comes back when the engine has let go of it."""
        if self.holding.cancel(task):
            assert self._link is not None
            self._link.send(Cancel([task.id]))

    def _kill_hung(self, why: str = "it held a task cancelled long ago") -> None:
        assert self._link is not None
        _log.error("%r is killed as hung: %s.", self, why)
        self._link.kill()

    def _on_late(self) -> None:
        """Give up the worker, and the tasks of its step; those that wait for it go elsewhere."""
        deployment, killed = self.deployment, f"The worker of {self.deployment.label!r} was killed"
        if self._is_loading:
            why = f"it had not loaded within {deployment.load_timeout_s} s"
            self.error = ModelLoadError(f"{killed}: {why}.")
        else:
            why = f"it had not ended a step within {deployment.step_timeout_s} s"
            died = WorkerDied(f"{killed}: {why}.")
            self._fail_all(self.holding.take(self.holding.stepped), died)
        self._kill_hung(why)

    def _fail_all(self, tasks: Sequence[Task], error: TorchLoomError) -> None:
        for task in tasks:
            task.fail(error)
            self._owner.on_settled(task)

    # Frames

    def _on_frames(self, frames: Iterable[AnyFrame]) -> None:
        """Take what came together, and look once what there is room for then."""
        for frame in frames:
            self._on_frame(frame)
        if not self._is_loading:
            self._owner.on_room()

    def _on_frame(self, frame: AnyFrame) -> None:
        if isinstance(frame, Events):
            self._on_events(frame)
        elif isinstance(frame, Ready):
            self._on_ready(frame)
        elif isinstance(frame, Progress):
            self._owner.on_progress(self.device, frame.what, frame.fraction)
        elif isinstance(frame, Broken):
            self.error = from_error(frame.error)
        elif isinstance(frame, Claim):
            self._on_claim(self, frame.bytes)
        elif isinstance(frame, Code):
            self.code = tuple(frame.parts)
        elif isinstance(frame, Applied):
            self.telling.hear(frame)

    def _on_ready(self, frame: Ready) -> None:
        if self.state is not ReplicaState.STARTING:
            return
        self.device = frame.device
        self.holding.room = frame.room
        self.load_s = frame.load_s
        self.notes, self.code = tuple(frame.notes), tuple(frame.code)
        self.memory_bytes = frame.memory_bytes or self.memory_bytes
        self.error = None
        self._has_served, self._is_loading = True, False
        self._watchdog.end()
        self._series = ReplicaSeries(self._stats, self.deployment, frame.device)
        self._move(ReplicaState.READY)
        self.telling.begin(self._link)
        self._settled.set()

    def _on_events(self, frame: Events) -> None:
        if frame.samples:
            self._stats.readings.add(self.deployment.name, self.deployment.version, frame.samples)
        if frame.steps:
            ended = {each.id for each in frame.events if not isinstance(each, ChunkEvent)}
            self.holding.end_step(ended)
        if frame.occupancy is not None:
            self._series.count_news(self.holding.occupancy, frame.occupancy)
            self.holding.occupancy = frame.occupancy
        for event in frame.events:
            self._on_event(event)
        for seconds, size in frame.steps:
            self._backoff.forgive()  # not when it is ready: one that dies of each task is, too
            self._series.observe_step(size, seconds)
            self._owner.on_step(self.device, size, seconds)
        self._watch_step()

    def _on_event(self, event: WireEvent) -> None:
        if isinstance(event, ChunkEvent):
            writing = self.holding.tasks.get(event.id)
            if writing is not None:
                writing.add_chunk(event.data)
            return
        if isinstance(event, GoneEvent):
            self.holding.let_go(event.id)
            return
        task = self.holding.settle(event.id)
        if task is None:
            return
        self._series.task_seconds.observe(self._now() - task.started_at)
        if isinstance(event, ResultEvent):
            self._series.count_tokens(event.counts)
            task.finish(event.outputs, event.ends)
        else:
            task.fail(from_error(event.error))
        self._owner.on_settled(task)
