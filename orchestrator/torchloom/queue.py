"""TaskQueue: the bounded queue of a pool; order by priority, tenant share, deadline and arrival.

Knows no replica and no clock. Among tasks of the highest priority, the tenant that has had the
least goes first; within a tenant, the earliest deadline, then the first come. Whoever takes
may be allowed the tasks of some hints only; the order among those is the same.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection

from torchloom.errors import QueueFull
from torchloom.task import COPY_PRIORITY, Task, TaskState


#: Copies, which nobody waits for, take no more places than this, nor more than half of them.
_MAX_COPIED = 100

#: So many entries of settled tasks may lie about before they are swept out.
_MAX_SETTLED = 1000

_Entry = tuple[int, float, int, Task]


class _Line:
    """One tenant's tasks, a heap for each of their hints, and how much it has had."""

    __slots__ = ("heaps", "served")

    def __init__(self, served: float) -> None:
        self.heaps: dict[str, list[_Entry]] = {}
        self.served = served


class TaskQueue:
    """Bounded; every operation is O(log n) in the tasks of a tenant and O(1) in settled ones."""

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._lines: dict[str, _Line] = {}
        self._size = 0
        self._counts: Counter[str] = Counter()
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

    def refuse(self, task: Task) -> None:
        """Raise QueueFull where there is no place for a task; for a copy, well before that."""
        if self.is_full:
            message = f"The queue is full: {self.max_size} tasks are waiting. Try again later."
            raise QueueFull(message)
        if task.priority == COPY_PRIORITY and self._size >= min(_MAX_COPIED, self.max_size // 2):
            raise QueueFull("There is no place for a copy.")

    def add(self, task: Task) -> None:
        """Put in a task that has been accepted, now or before its worker died."""
        line = self._lines.get(task.tenant)
        if line is None:
            # A newcomer starts level with the rest: time away earns no credit.
            line = self._lines[task.tenant] = _Line(self._served)
        heap = line.heaps.setdefault(task.hint, [])
        heapq.heappush(heap, (*task.rank, task.id, task))
        self._size += 1
        self._counts[task.hint] += 1
        self._num_entries += 1

    def redirect(self, task: Task, hint: str) -> None:
        """Give a task another hint, whether it waits here or not. Takes a look at all like it."""
        if task.state is not TaskState.QUEUED:
            task.hint = hint
            return
        heap = self._lines[task.tenant].heaps[task.hint]
        heap[:] = [entry for entry in heap if entry[3] is not task]
        heapq.heapify(heap)
        self._num_entries -= 1
        self._size -= 1
        self._counts[task.hint] -= 1
        task.hint = hint
        self.add(task)

    @property
    def hints(self) -> Collection[str]:
        """Give the hints of waiting tasks; the empty string stands for no hint."""
        return [hint for hint, count in self._counts.items() if count]

    def count(self, hints: Collection[str]) -> int:
        """Count the tasks that wait with one of these hints."""
        return sum(self._counts[hint] for hint in hints)

    def peek(self, hints: Collection[str] | None = None) -> Task | None:
        """Give the task that goes next among those with one of the hints, or of all; or None."""
        place = self._next(hints)
        return place[1][0][3] if place else None

    def take(self, hints: Collection[str] | None = None) -> Task:
        """Take out the task that goes next; IndexError where there is none."""
        place = self._next(hints)
        if place is None:
            raise IndexError("The queue is empty.")
        line, heap = place
        task = self._pop(heap)
        self._size -= 1
        self._counts[task.hint] -= 1
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
        self._counts[task.hint] -= 1
        if self._num_entries > 2 * self._size + _MAX_SETTLED:
            self._sweep()

    def tasks(self) -> list[Task]:
        """List the tasks that wait, in no order."""
        heaps = [heap for line in self._lines.values() for heap in line.heaps.values()]
        entries = [entry for heap in heaps for entry in heap]
        return [entry[3] for entry in entries if entry[3].state is TaskState.QUEUED]

    def check(self) -> None:
        """Assert that what is counted is what waits."""
        assert len(self) == self.count(self.hints) == len(self.tasks()), self

    def _next(self, hints: Collection[str] | None) -> tuple[_Line, list[_Entry]] | None:
        """Find who goes next and from which heap, dropping what is settled on the way."""
        best: tuple[_Line, list[_Entry]] | None = None
        for tenant in list(self._lines):
            line = self._lines[tenant]
            heap = self._first_heap(line, hints)
            if not line.heaps:
                del self._lines[tenant]
            elif heap and (best is None or self._rank(line, heap) < self._rank(*best)):
                best = (line, heap)
        return best

    def _first_heap(self, line: _Line, hints: Collection[str] | None) -> list[_Entry] | None:
        """Give the tenant's heap whose first task goes before the others'."""
        first: list[_Entry] | None = None
        for hint, heap in list(line.heaps.items()):
            while heap and heap[0][3].state is not TaskState.QUEUED:
                self._pop(heap)
            if not heap:
                del line.heaps[hint]
            elif (hints is None or hint in hints) and (first is None or heap[0][:3] < first[0][:3]):
                first = heap
        return first

    def _pop(self, heap: list[_Entry]) -> Task:
        self._num_entries -= 1
        return heapq.heappop(heap)[3]

    def _sweep(self) -> None:
        """Drop the entries of all settled tasks."""
        for line in self._lines.values():
            for heap in line.heaps.values():
                heap[:] = [e for e in heap if e[3].state is TaskState.QUEUED]
                heapq.heapify(heap)
        self._num_entries = self._size

    @staticmethod
    def _rank(line: _Line, heap: list[_Entry]) -> tuple[int, float]:
        return (heap[0][0], line.served)
