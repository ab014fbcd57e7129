"""Pool: the replicas of one model version, the one queue that feeds them, and how tasks end.

Knows no graph and no run: whoever submits a task is told by the task itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from torchloom.choice import has_missed, wishes
from torchloom.deployment import Deployment
from torchloom.dispatcher import Dispatcher
from torchloom.errors import (
    Cancelled,
    DeadlineExceeded,
    ModelLoadError,
    NotServing,
    QueueFull,
    TorchLoomError,
)
from torchloom.executor import Executor
from torchloom.fleet import Fleet
from torchloom.memory import Memory
from torchloom.model_status import ModelStatus, PoolState
from torchloom.policy import ReplicaPolicy
from torchloom.queue import TaskQueue
from torchloom.replica import Replica
from torchloom.replica_state import ReplicaStatus
from torchloom.session import Failed, Sessions
from torchloom.stats import Stats
from torchloom.task import Task, TaskState
from torchloom.waiting_line import WaitingLine


_log = logging.getLogger(__name__)

#: Called while a model loads, with its label, what is being done, and how much of it is done.
OnProgress = Callable[[str, str, float | None], None]


class Pool:
    """One model version: its queue and its replicas."""

    def __init__(
        self,
        deployment: Deployment,
        executor: Executor,
        stats: Stats,
        *,
        now: Callable[[], float],
        memory: Memory | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.deployment = deployment
        self.queue = TaskQueue(deployment.queue.max_size)
        self.sessions = Sessions(deployment, self.queue, now=now)
        self.is_draining = False
        self.last_used_at = now()
        self._memory = memory or Memory()
        self.fleet = Fleet(deployment, executor, self, stats, now=now, memory=self._memory)
        self._stats = stats
        self._labels = (deployment.name, str(deployment.version))
        self._now = now
        self._on_progress = on_progress
        self._is_started = False
        self._start_is_over = asyncio.Event()
        self._accepted = self._settled = 0
        self._line = WaitingLine(
            lambda: self.queue.max_size - len(self.queue), lambda: self.is_draining
        )
        self._dispatcher = Dispatcher(
            deployment,
            self.queue,
            self.fleet,
            self.sessions,
            now=now,
            on_expired=self._expire,
            on_taken=self._line.let_in,
        )
        self._idle = asyncio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        """Say how much waits and what the replicas do."""
        where = ", ".join(
            f"{len(replica.holding.tasks)} running on {replica.device}" for replica in self.replicas
        )
        return f"<Pool {self.deployment.label}: {len(self.queue)} queued, {where or 'no replica'}>"

    # Replicas

    async def start(self) -> None:
        """Start the least number of replicas; on any failure stop them all and raise it."""
        self._memory.add(self)
        try:
            await self.scale(self.deployment.replicas)
            self._is_started = True
        finally:
            self._start_is_over.set()

    async def wait_started(self) -> None:
        """Wait for the end of a `start` that another caller awaits; raise if it has failed."""
        await self._start_is_over.wait()
        if not self._is_started:
            raise ModelLoadError(f"Model {self.deployment.label!r} could not be loaded.")

    @property
    def name(self) -> str:
        """Name the model."""
        return self.deployment.name

    @property
    def version(self) -> int:
        """Number the version."""
        return self.deployment.version

    @property
    def label(self) -> str:
        """Name model and version."""
        return self.deployment.label

    @property
    def can_serve(self) -> bool:
        """Tell whether new tasks belong here: it has started, and is not on its way out."""
        return self._is_started and not self.is_draining

    @property
    def replicas(self) -> Sequence[Replica]:
        """Give its replicas; none while it is evicted."""
        return self.fleet.replicas

    async def scale(self, policy: ReplicaPolicy) -> None:
        """Bring every device to a number within the bounds; those taken away drain first."""
        await self.fleet.scale(policy)

    async def apply_setting(self, key: str, value: object) -> None:
        """Tell every worker a setting, now and whenever one starts; None takes it back."""
        await self.fleet.apply_setting(key, value)

    @property
    def is_idle(self) -> bool:
        """Tell whether it could be evicted: loaded, nothing in hand, and nothing to be kept."""
        is_loaded = self.can_serve and bool(self.replicas) and not self.fleet.is_changing
        return is_loaded and self._accepted == self._settled and not len(self.sessions)

    @property
    def is_wanted(self) -> bool:
        """Tell whether tasks wait for it."""
        return len(self.queue) > 0

    @property
    def pressure(self) -> Collection[str]:
        """Give the devices of tasks that wait though no replica will take them; "" is any."""
        return () if self._dispatcher.is_about_to else wishes(self.queue.hints)

    def held_memory(self) -> dict[str, int]:
        """Give the bytes that its workers hold, or are about to, by place."""
        return self.fleet.held_memory()

    async def evict(self) -> None:
        """End its workers, giving their memory back; the next task loads the model again."""
        await self.fleet.evict()

    def on_lost(self, error: TorchLoomError) -> None:
        """Fail what waits: no worker will come for it. The next task may try again."""
        for task in self.queue.tasks():
            _log.error("%r: %r fails, for no worker will come: %s", self, task, error)
            self._settle_queued(task, error, TaskState.FAILED)

    async def drain(self, grace_s: float) -> None:
        """Refuse new tasks and wait, within the grace, until all that were accepted are settled."""
        self.is_draining = True
        self._line.let_in()
        try:
            async with asyncio.timeout(grace_s):
                while self._accepted > self._settled:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            _log.warning("%r: still busy after %s s.", self, grace_s)

    async def stop(self, grace_s: float = 5.0) -> None:
        """Fail what waits and end every worker."""
        self.is_draining = True
        self._line.let_in()
        self._dispatcher.stop()
        for task in self.queue.tasks():
            self._settle_queued(task, NotServing("The model is being stopped.", retry_after_s=1.0))
        await self.fleet.stop(grace_s)
        self._memory.remove(self)

    @property
    def state(self) -> PoolState:
        """Sum up the replicas."""
        return "draining" if self.is_draining else self.fleet.state

    def status(self, weight: float) -> ModelStatus:
        """Take a picture of it."""
        return ModelStatus(
            deployment=self.deployment,
            state=self.state,
            queue_depth=len(self.queue),
            weight=weight,
            memory_bytes=sum(self.held_memory().values()),
            replicas=tuple(map(ReplicaStatus.of, self.replicas)),
            settings=dict(self.fleet.settings),
            policy=self.fleet.policy,
            scaling_error=self.fleet.scaling_error,
        )

    # Tasks

    def submit(self, task: Task) -> None:
        """Take a task in. Raises QueueFull or NotServing; after that the task tells its end."""
        if self.is_draining:
            message = f"Model {self.label!r} is being taken out of service."
            raise NotServing(message, retry_after_s=1.0)
        self.fleet.require_replicas()
        now = self._now()
        if task.deadline is not None and task.deadline <= now:
            raise DeadlineExceeded("The deadline had passed before the work could begin.")
        try:
            self.queue.refuse(task)
            self.sessions.admit(task, self.replicas)
        except QueueFull as error:
            message = f"Model {self.deployment.label!r}: {error.message}"
            raise QueueFull(message, retry_after_s=self._drain_time_s()) from None
        task.queued_at = now
        self._accepted += 1
        self._dispatcher.take_in(task)

    async def submit_when_free(self, task: Task) -> None:
        """Take a task in, waiting in line for a place in the queue where there is none."""
        while self.queue.is_full and not self.is_draining:
            await self._line.wait_turn()
        self.submit(task)

    def cancel(self, task: Task) -> None:
        """Give a task up, wherever it is: its engine forgets it at the next step."""
        if task.state is TaskState.QUEUED:
            self._settle_queued(task, Cancelled("The caller cancelled."))
        elif task.state is TaskState.RUNNING:
            for replica in self.replicas:
                replica.cancel(task)
            task.fail(Cancelled("The caller cancelled."), TaskState.CANCELLED)
            self.on_settled(task)

    def _settle_queued(
        self, task: Task, error: TorchLoomError, state: TaskState = TaskState.CANCELLED
    ) -> None:
        task.fail(error, TaskState.EXPIRED if isinstance(error, DeadlineExceeded) else state)
        self.queue.forget(task)
        self.on_settled(task)

    def _expire(self, task: Task) -> None:
        self._settle_queued(task, DeadlineExceeded("The deadline passed in the queue."))

    def _drain_time_s(self) -> float:
        """Estimate when a place is free: the time of one step, within reason."""
        return min(max(self._dispatcher.fastest_step_s, 0.05), 30.0)

    # What replicas tell

    def on_settled(self, task: Task) -> None:
        """Count a task that is over."""
        self._settled += 1
        self.sessions.settle(task)
        self.last_used_at = self._now()
        self._stats.counter("tasks", *self._labels, task.state).add()
        if self._settled == self._accepted:
            self._idle.set()
            self._memory.poke()
        self._line.let_in()

    def on_room(self) -> None:
        """Hand out what waits: now, for the worker stands idle while callers take their answers."""
        self._dispatcher.hand_out()

    def on_orphans(self, replica: Replica, tasks: Sequence[Task]) -> None:
        """Queue tasks again whose worker died, but for those of sessions that died with it."""
        self._fail(self.sessions.lose(replica, tasks))
        for task in tasks:
            if not task.is_final:
                task.move(TaskState.QUEUED)
                self.queue.add(task)
        self._dispatcher.ask()

    def on_leaving(self, replica: Replica) -> None:
        """Let sessions end whose replica is taken away."""
        self._fail(self.sessions.leave(replica))

    def _fail(self, failed: Failed) -> None:
        for task, error in failed:
            if task.state is TaskState.QUEUED:
                self._settle_queued(task, error, TaskState.FAILED)
            else:
                task.fail(error)
                self.on_settled(task)

    def on_step(self, device: str, size: int, seconds: float) -> None:
        """Learn from a step."""
        self._dispatcher.on_step(device, size, seconds)

    def expected_step_s(self, device: str, size: int) -> float:
        """Forecast a step from those that were."""
        return self._dispatcher.expected_step_s(device, size)

    def on_progress(self, device: str, what: str, fraction: float | None) -> None:
        """Pass on how loading goes."""
        if self._on_progress is not None:
            self._on_progress(f"{self.deployment.label} on {device}", what, fraction)

    def check(self) -> None:
        """Assert the invariants.

        accepted = queued + running + settled; no room below 0, nor beside a task that may have it.
        """
        in_flight = sum(len(replica.holding.tasks) for replica in self.replicas)
        assert self._accepted == len(self.queue) + in_flight + self._settled, self
        assert all(replica.credits >= 0 for replica in self.replicas), self
        self.queue.check()
        if not self._dispatcher.is_about_to:
            missed = (has_missed(each, self.replicas, self.queue) for each in self.replicas)
            assert not any(missed), self
