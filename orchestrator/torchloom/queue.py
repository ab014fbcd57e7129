"""TaskQueue: the bounded queue of a pool; order by priority, tenant share, deadline and arrival.

Knows no replica and no clock. Among tasks of the highest priority, the tenant that has had the
least goes first; within a tenant, the earliest deadline, then the first come.
"""

from __future__ import annotations

import heapq
import math

from torchloom.errors import QueueFull
from torchloom.task import Task, TaskState


#: So many entries of settled tasks may lie about before they are swept out.
_MAX_SETTLED = 1000

_Entry = tuple[int, float, int, Task]


class _Line:
    """One tenant's tasks, and how much the tenant has had."""

    __slots__ = ("entries", "served")

    def __init__(self, served: float) -> None:
        self.entries: list[_Entry] = []
        self.served = served


class TaskQueue:
    """Bounded; every operation is O(log n) in the tasks of a tenant and O(1) in settled ones."""

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._lines: dict[str, _Line] = {}
        self._size = 0
        self._num_entries = 0
        self._served = 0.0

    def __len__(self) -> int:
        """Count the tasks that wait."""
        return self._size

    def __repr__(self) -> str:
        """Say how full it is."""
        return f"<TaskQueue {self._size} of {self.max_size}>"

    @property
    def is_full(self) -> bool:
        """Tell whether the next task would be refused."""
        return self._size >= self.max_size

    def add(self, task: Task) -> None:
        """Put a task in; raises QueueFull at the bound."""
        if self.is_full:
            message = f"The queue is full: {self.max_size} tasks are waiting. Try again later."
            raise QueueFull(message)
        self.put_back(task)

    def put_back(self, task: Task) -> None:
        """Put in a task that had been accepted before (its worker died): never refused."""
        line = self._lines.get(task.tenant)
        if line is None:
            # A newcomer starts level with the rest: time away earns no credit.
            line = self._lines[task.tenant] = _Line(self._served)
        deadline = math.inf if task.deadline is None else task.deadline
        heapq.heappush(line.entries, (-task.priority, deadline, task.id, task))
        self._size += 1
        self._num_entries += 1

    def peek(self) -> Task | None:
        """Give the task that goes next, or None."""
        line = self._next_line()
        return line.entries[0][3] if line else None

    def take(self) -> Task:
        """Take out the task that goes next; IndexError where there is none."""
        line = self._next_line()
        if line is None:
            raise IndexError("The queue is empty.")
        task = self._pop(line)
        self._size -= 1
        line.served += 1.0
        self._served = max(self._served, line.served)
        return task

    def forget(self, task: Task) -> None:
        """Count out a task that was settled while it waited.

        Its entry goes when it is met, or when such entries have become the greater part.
        """
        if task.state is TaskState.QUEUED:
            message = f"{task!r} is still to be done."
            raise ValueError(message)
        self._size -= 1
        if self._num_entries > 2 * self._size + _MAX_SETTLED:
            self._sweep()

    def tasks(self) -> list[Task]:
        """List the tasks that wait, in no order."""
        waiting = TaskState.QUEUED
        lines = self._lines.values()
        return [entry[3] for line in lines for entry in line.entries if entry[3].state is waiting]

    def _next_line(self) -> _Line | None:
        """Find the tenant who goes next, dropping settled tasks and empty lines on the way."""
        best: _Line | None = None
        for tenant in list(self._lines):
            line = self._lines[tenant]
            while line.entries and line.entries[0][3].state is not TaskState.QUEUED:
                self._pop(line)
            if not line.entries:
                del self._lines[tenant]
            elif best is None or self._rank(line) < self._rank(best):
                best = line
        return best

    def _pop(self, line: _Line) -> Task:
        self._num_entries -= 1
        return heapq.heappop(line.entries)[3]

    def _sweep(self) -> None:
        """Drop the entries of all settled tasks."""
        for line in self._lines.values():
            line.entries = [e for e in line.entries if e[3].state is TaskState.QUEUED]
            heapq.heapify(line.entries)
        self._num_entries = self._size

    @staticmethod
    def _rank(line: _Line) -> tuple[int, float]:
        return (line.entries[0][0], line.served)
