"""Task: one call of one node in a run, what is queued and batched; and its table of states.

Knows no queue, no worker and no clock: whoever moves it says when.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum

from torchloom.engine import Values
from torchloom.errors import TorchLoomError


class TaskState(StrEnum):
    """Where a task is. The last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


#: What may follow what. RUNNING goes back to QUEUED when its worker died under it.
TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.QUEUED: frozenset(
        {TaskState.RUNNING, TaskState.FAILED, TaskState.CANCELLED, TaskState.EXPIRED}
    ),
    TaskState.RUNNING: frozenset(
        {
            TaskState.QUEUED,
            TaskState.DONE,
            TaskState.FAILED,
            TaskState.CANCELLED,
            TaskState.EXPIRED,
        }
    ),
    TaskState.DONE: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
    TaskState.EXPIRED: frozenset(),
}


#: Copies of calls, for a shadow version, go behind everything that somebody waits for.
COPY_PRIORITY = -1000


class IllegalTransition(RuntimeError):
    """A move that the table does not allow: a fault of ours."""


_ids = itertools.count(1)


class Task:
    """One call: frozen input, one state, one future.

    `deadline` and the times are in the clock's seconds. `device` is a hint where to run, or
    empty; `hint` is the one that counts, as one of a `session` is for the replica that has it (see
    `session.py`). `on_chunk`, where given, gets every chunk;
    a task that has shown a chunk to its caller is never run again. `outputs` awaits the answer.
    """

    __slots__ = (
        "_outcome",
        "chunks_sent",
        "deadline",
        "deaths",
        "device",
        "ends",
        "hint",
        "id",
        "inputs",
        "on_chunk",
        "params",
        "priority",
        "queued_at",
        "session",
        "started_at",
        "state",
        "tenant",
    )

    def __init__(
        self,
        inputs: Values,
        params: Values,
        *,
        deadline: float | None = None,
        priority: int = 0,
        tenant: str = "",
        device: str = "",
        on_chunk: Callable[[Values], None] | None = None,
    ) -> None:
        self.id = next(_ids)
        self.inputs = inputs
        self.params = params
        self.deadline = deadline
        self.priority = priority
        self.tenant = tenant
        self.device = self.hint = device
        self.session = ""
        #: Sessions that have ended with its answer.
        self.ends: tuple[str, ...] = ()
        self.on_chunk = on_chunk
        self.state = TaskState.QUEUED
        self.queued_at = 0.0
        self.started_at = 0.0
        self.chunks_sent = 0
        #: How many workers have died while they held it. Above zero it runs alone.
        self.deaths = 0
        self._outcome: asyncio.Future[Values] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        """Say id and state."""
        return f"<Task {self.id}: {self.state.value}>"

    @property
    def is_final(self) -> bool:
        """Tell whether nothing can follow."""
        return not TRANSITIONS[self.state]

    @property
    def rank(self) -> tuple[int, float]:
        """Give what it goes by in a queue, the least first: its priority, then its deadline.

        Those of a session go as they come.
        """
        if self.session:
            return 0, math.inf
        return -self.priority, math.inf if self.deadline is None else self.deadline

    @property
    def error(self) -> BaseException | None:
        """Give the error that it was settled with, if it was with one."""
        is_over = self._outcome.done() and not self._outcome.cancelled()
        return self._outcome.exception() if is_over else None

    def move(self, to: TaskState) -> None:
        """Go to another state; raises IllegalTransition where the table has no such move."""
        if to not in TRANSITIONS[self.state]:
            message = f"Task {self.id} cannot go from {self.state.value} to {to.value}."
            raise IllegalTransition(message)
        self.state = to

    def add_chunk(self, data: Values) -> None:
        """Hand a chunk on, unless the task is over."""
        if self.on_chunk is not None and not self.is_final:
            self.chunks_sent += 1
            self.on_chunk(data)

    def finish(self, outputs: Values, ends: Iterable[str] = ()) -> None:
        """Settle it with its answer, and the sessions that end with it."""
        self.move(TaskState.DONE)
        self.ends = tuple(ends)
        if not self._outcome.done():
            self._outcome.set_result(outputs)

    def fail(self, error: TorchLoomError, state: TaskState = TaskState.FAILED) -> None:
        """Settle it with an error; `state` may also be CANCELLED or EXPIRED."""
        self.move(state)
        if not self._outcome.done():
            self._outcome.set_exception(error)
            self._outcome.exception()  # seen: a caller that left need not hear of it

    def outputs(self) -> Awaitable[Values]:
        """Wait for the answer; raises the error it was settled with."""
        return self._outcome
