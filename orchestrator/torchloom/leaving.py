"""Leaving: cancelled tasks that an engine still holds, each with a timer against a hung engine.

Knows task ids and a time, and neither tasks nor worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


#: A cancelled task must leave its engine within this time, or the worker is killed as hung.
HANG_S = 60.0


class Leaving:
    """The ids of those that are on their way out; `on_hung` is called for one that stays.

    `hang_s`: how long one may stay, where HANG_S is not the time.
    """

    def __init__(self, on_hung: Callable[[], None], hang_s: float | None = None) -> None:
        self._on_hung = on_hung
        self._hang_s = hang_s
        #: By the id of the task that each waits for.
        self.timers: dict[int, asyncio.TimerHandle] = {}

    def add(self, task_id: int) -> None:
        """Begin to wait for one."""
        loop = asyncio.get_running_loop()
        self.timers[task_id] = loop.call_later(self._hang_s or HANG_S, self._on_hung)

    def remove(self, task_id: int) -> None:
        """Wait no more for one, if it is among them."""
        timer = self.timers.pop(task_id, None)
        if timer is not None:
            timer.cancel()

    def clear(self) -> None:
        """Wait for none any more."""
        for task_id in list(self.timers):
            self.remove(task_id)
