"""Holding: the tasks that a worker has in hand, and how many more it may be given.

Knows neither the worker nor where tasks come from: it is told what is sent and what comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from torchloom.engine import Occupancy, Room
from torchloom.leaving import Leaving
from torchloom.task import Task
from torchloom.turns import Turns


class Holding:
    """What one worker holds: tasks in flight, by their ids, and cancelled ones on their way out.

    `room` and `occupancy` are what its engine has said. Whose turn it is in an engine that takes
    whole batches, `turns` knows.
    """

    def __init__(self, turns: Turns, leaving: Leaving) -> None:
        self.room = Room(max_tasks=0)
        self.occupancy = Occupancy()
        self.tasks: dict[int, Task] = {}
        self.turns = turns
        self._leaving = leaving
        self._changed = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Tell whether the worker has nothing in hand, nor anything that is to leave it."""
        return not (self.tasks or self._leaving.timers)

    @property
    def credits(self) -> int:
        """How many tasks a worker that is ready can be given now."""
        held = len(self.tasks) + len(self._leaving.timers)
        if not held:
            return self.room.max_tasks
        if len(self.tasks) == 1 and next(iter(self.tasks.values())).deaths:
            return 0  # it has seen a worker die, and runs alone
        if self.room.is_continuous:
            return 0 if self.occupancy.is_full else self.room.max_tasks - held
        return self.room.max_tasks if self.turns.takes_ahead or self.turns.takes_full else 0

    def add(self, tasks: Sequence[Task]) -> None:
        """Take note of tasks that are sent together."""
        for task in tasks:
            self.tasks[task.id] = task
        if not self.room.is_continuous:
            self.turns.add([task.id for task in tasks])

    def cancel(self, task: Task) -> bool:
        """Forget a task in flight, if it is; its room comes back when the engine has let it go."""
        if self.tasks.pop(task.id, None) is None:
            return False
        self._leaving.add(task.id)
        self._changed.set()
        return True

    def let_go(self, task_id: int) -> None:
        """Take note that a cancelled task has left the engine."""
        self._leaving.remove(task_id)
        self.turns.remove(task_id)

    def settle(self, task_id: int) -> Task | None:
        """Take note that the worker is through with a task; give it, unless it was cancelled.

        A result may cross the cancellation of its task on the way.
        """
        self.let_go(task_id)
        self._changed.set()
        return self.tasks.pop(task_id, None)

    def end_step(self, ended: set[int]) -> None:
        """Take note that a step is over, with which these tasks ended."""
        self.turns.end_step(self.tasks.keys() - ended)

    @property
    def stepped(self) -> set[int]:
        """The ids of those whose step runs."""
        return self.turns.stepped(self.tasks)

    def take(self, ids: Iterable[int]) -> list[Task]:
        """Give up tasks in flight, whatever becomes of their worker."""
        self._changed.set()
        return [self.tasks.pop(task_id) for task_id in ids]

    def take_all(self) -> list[Task]:
        """Give up whatever is in flight."""
        return self.take(list(self.tasks))

    def clear(self) -> list[Task]:
        """Take note that the worker is gone; give what was in flight."""
        self.turns.clear()
        self._leaving.clear()
        self.occupancy = Occupancy()
        return self.take_all()

    async def wait_empty(self) -> None:
        """Wait until nothing is in flight."""
        while self.tasks:
            self._changed.clear()
            await self._changed.wait()
