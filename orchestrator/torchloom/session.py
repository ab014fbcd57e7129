"""Sessions: tasks that belong together, and the one replica that works on all of a session.

An engine that keeps something from one task to the next says so (SessionPolicy) and tells which
sessions end; whatever else there is to know of them is here. Knows no frame and no event loop.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torchloom.choice import UNPLACED, hint_of
from torchloom.deployment import Deployment
from torchloom.device import is_on
from torchloom.engine import Values
from torchloom.errors import NotServing, QueueFull, TorchLoomError, WorkerDied
from torchloom.policy import SessionPolicy
from torchloom.queue import TaskQueue
from torchloom.replica import Replica
from torchloom.replica_state import ReplicaState
from torchloom.task import Task, TaskState


#: So many sessions that were lost are remembered, for their callers to be told of it.
_MAX_LOST = 10_000

#: Tasks that cannot go on, and why.
Failed = Sequence[tuple[Task, TorchLoomError]]


@dataclass(slots=True, eq=False)
class _Session:
    """One that is open. `tasks`: those in hand. Without a replica it waits for one."""

    key: str
    begun_at: float
    used_at: float
    replica: Replica | None = None
    tasks: list[Task] = field(default_factory=list)
    num_done: int = 0
    #: Whether a task has been told that its worker has died.
    is_told: bool = False

    @property
    def has_begun(self) -> bool:
        """Tell whether its worker may have kept something that no other has."""
        return self.num_done > 0 or self.is_told


class Sessions:
    """The open sessions of one model version; none where its engines keep nothing.

    The tasks of a session go to one replica in the order in which they came, whatever their
    priorities and deadlines. New ones go where the fewest are.
    """

    def __init__(
        self, deployment: Deployment, queue: TaskQueue, *, now: Callable[[], float]
    ) -> None:
        self._deployment = deployment
        self._queue = queue
        self._now = now
        self._policy: SessionPolicy | None = None
        self._open: dict[str, _Session] = {}
        self._lost: dict[str, TorchLoomError] = {}

    def __len__(self) -> int:
        """Count those that are open."""
        self._expire()
        return len(self._open)

    @property
    def are_kept(self) -> bool:
        """Tell whether the engines keep any."""
        return self._policy is not None

    def count_at(self, replica: Replica) -> int:
        """Count those that a replica works on."""
        self._expire()
        return sum(session.replica is replica for session in self._open.values())

    def admit(self, task: Task, replicas: Iterable[Replica]) -> None:
        """Let a task join its session, or begin one, and say who may take it.

        A task that names none begins one. Raises QueueFull where there are too many of them, or too
        many tasks of one; WorkerDied or NotServing, once, where the session was lost: the next task
        begins it anew.
        """
        self._learn(replicas)
        if self._policy is None:
            return
        key = named_session(task.params, self._deployment.session_paths)
        key = key or f"{self._policy.prefix}{uuid.uuid4()}"
        lost = self._lost.pop(key, None)
        if lost is not None:
            raise lost
        session = self._find(key) or self._begin(key)
        most = self._policy.max_waiting
        if most is not None and len(session.tasks) > most:
            message = f"{most} tasks of session {key!r} wait, and more may not."
            raise QueueFull(message)
        if session.replica is None:
            session.replica = self._choose(replicas, task.device)
        session.tasks.append(task)
        task.session = key
        task.hint = _hint_for(session)

    def settle(self, task: Task) -> None:
        """Take note that a task is over, and of the sessions that end with it."""
        if not self._has(task):
            return
        session = self._open[task.session]
        session.tasks.remove(task)
        session.is_told = session.is_told or isinstance(task.error, WorkerDied)
        if task.state is TaskState.DONE:
            session.num_done += 1
            session.used_at = self._now()
        if not session.tasks and not session.num_done:
            del self._open[session.key]
        for key in task.ends:
            self._end(key, session.replica)

    def place(self, replicas: Iterable[Replica]) -> None:
        """Give sessions that wait for a replica one of those that are ready, if there are any."""
        if self._policy is None or not self._queue.count((UNPLACED,)):
            return
        for session in [each for each in self._open.values() if each.replica is None]:
            session.replica = self._choose(replicas, session.tasks[0].device)
            self._move(session)

    def lose(self, replica: Replica, orphans: Sequence[Task]) -> Failed:
        """Take note that a replica's worker has died; give the tasks that cannot go on.

        These are of sessions that had begun. The others begin elsewhere.
        """
        failed: list[tuple[Task, TorchLoomError]] = []
        for session in self._at(replica):
            if session.has_begun:
                failed += self._cut(session, self._died(session.key), session.tasks)
            else:
                session.replica = None
                self._move(session)
        # Of sessions that their worker was to leave, nothing is open any more.
        told = {task for task, _ in failed}
        cut = [t for t in orphans if t.session and t not in told and not self._has(t)]
        return [*failed, *((task, self._died(task.session)) for task in cut)]

    def leave(self, replica: Replica) -> Failed:
        """Take note that a replica is taken away; give the tasks that cannot go on.

        What it has been sent is finished. Sessions that had begun are over, and those of which
        nothing was sent begin elsewhere.
        """
        failed: list[tuple[Task, TorchLoomError]] = []
        for session in self._at(replica):
            queued = [task for task in session.tasks if task.state is TaskState.QUEUED]
            if session.has_begun or len(queued) < len(session.tasks):
                failed += self._cut(session, self._left(session.key), queued)
            else:
                session.replica = None
                self._move(session)
        return failed

    def _learn(self, replicas: Iterable[Replica]) -> None:
        """Take what engines say of themselves; while none is there, what they said before holds."""
        for each in replicas:
            if each.holding.room.sessions is not None:
                self._policy = each.holding.room.sessions
                return

    def _has(self, task: Task) -> bool:
        session = self._open.get(task.session)
        return session is not None and task in session.tasks

    def _find(self, key: str) -> _Session | None:
        session = self._open.get(key)
        return None if session is None or self._is_over(session) else session

    def _begin(self, key: str) -> _Session:
        assert self._policy is not None
        self._expire()
        if len(self._open) >= self._policy.max_open:
            message = f"{self._policy.max_open} sessions are open, and more there may not be."
            raise QueueFull(message)
        now = self._now()
        session = self._open[key] = _Session(key, now, now)
        return session

    def _end(self, key: str, replica: Replica | None) -> None:
        """Close a session of a replica; what was sent behind its end begins it anew."""
        session = self._open.get(key)
        if session is None or session.replica is not replica:
            return
        if not session.tasks:
            del self._open[key]
        else:
            session.num_done = 0
            session.begun_at = session.used_at = self._now()

    def _expire(self) -> None:
        for key in [key for key, session in self._open.items() if self._is_over(session)]:
            del self._open[key]

    def _is_over(self, session: _Session) -> bool:
        policy = self._policy
        if policy is None or session.tasks:
            return False
        now = self._now()
        is_idle = policy.max_idle_s and now - session.used_at > policy.max_idle_s
        is_old = policy.max_life_s and now - session.begun_at > policy.max_life_s
        return bool(is_idle or is_old)

    def _choose(self, replicas: Iterable[Replica], device: str) -> Replica | None:
        """Give the ready replica with the fewest sessions, on the device if one is wished for."""
        ready = [each for each in replicas if each.state is ReplicaState.READY]
        near = [each for each in ready if device and is_on(device, each.device)]
        counts = Counter(session.replica for session in self._open.values())
        return min(near or ready, key=lambda each: counts[each], default=None)

    def _at(self, replica: Replica) -> list[_Session]:
        return [session for session in self._open.values() if session.replica is replica]

    def _move(self, session: _Session) -> None:
        """Let the tasks of a session be taken where it is now, or by nobody yet."""
        for task in session.tasks:
            self._queue.redirect(task, _hint_for(session))

    def _cut(self, session: _Session, error: TorchLoomError, tasks: Iterable[Task]) -> Failed:
        """Close a session that is lost; if no task can be told, the next one will be."""
        del self._open[session.key]
        failed = [(task, error) for task in tasks]
        if not failed and not session.is_told:
            self._lost[session.key] = error
            if len(self._lost) > _MAX_LOST:
                del self._lost[next(iter(self._lost))]
        return failed

    def _died(self, key: str) -> WorkerDied:
        return WorkerDied(
            f"The worker of {self._deployment.label!r} ended, and with it {_anew(key)}"
        )

    def _left(self, key: str) -> NotServing:
        whose = f"The worker of {self._deployment.label!r}"
        return NotServing(f"{whose} was taken away, and with it {_anew(key)}", retry_after_s=1.0)


def named_session(params: Values, paths: Iterable[Sequence[str]]) -> str:
    """Give the session that a task's params name at the first of the paths that leads to a text.

    Keys of nested params may be spelled in any case, as the names of headers may.
    """
    for first, *rest in paths:
        value = params.get(first)
        for key in rest:
            value = _value_at(value, key)
        if isinstance(value, str) and value:
            return value
    return ""


def _value_at(value: object, key: str) -> object:
    if not isinstance(value, Mapping):
        return None
    lower = key.lower()
    return next((v for name, v in value.items() if str(name).lower() == lower), None)


def _hint_for(session: _Session) -> str:
    return UNPLACED if session.replica is None else hint_of(session.replica)


def _anew(key: str) -> str:
    return f"what it had kept of session {key!r}: begin that anew."
