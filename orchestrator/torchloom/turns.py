"""Turns: whose step runs at a worker that takes whole batches, and who was sent ahead of its end.

Without this a worker stands idle from the end of a step until the scheduler has heard of it and
sent the next batch. Knows task ids and a time, and neither tasks, worker nor queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable


#: The next batch may go this long before the step is expected to end: as long as a scheduler may
#: take to hear of it and to answer, and no longer, for what comes after it misses the step.
_LEAD_S = 0.0015

#: The same as a share of the step, where that is more: what a forecast is off by.
_LEAD_SHARE = 0.05

#: Of steps shorter than this nothing is sent ahead: the lead would be too much of it.
_SHORTEST_S = 0.005


class Turns:
    """The batch that a worker steps, and the one that waits there for its turn.

    Nothing is sent ahead of a batch that takes several steps, nor of the one after it: nobody can
    say when such a batch ends, and who waits for it could meanwhile be served elsewhere.
    """

    def __init__(self, expect_s: Callable[[int], float], on_near: Callable[[], None]) -> None:
        self._expect_s = expect_s
        self._on_near = on_near
        self._running: set[int] = set()
        self._ahead: set[int] = set()
        self._is_near = False
        self._is_long = self._was_long = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def takes_ahead(self) -> bool:
        """Tell whether a batch may be sent ahead now."""
        return self._is_near and not (self._ahead or self._is_long or self._was_long)

    @property
    def running(self) -> frozenset[int]:
        """Give the batch whose step runs; of an engine that takes tasks at any time, none."""
        return frozenset(self._running)

    def add(self, ids: Iterable[int]) -> None:
        """Take note of a batch that is sent: it runs, or waits for its turn."""
        if self._running:
            self._ahead.update(ids)
        else:
            self._begin(set(ids))

    def remove(self, task_id: int) -> None:
        """Take note that the worker holds a task no more; after the last the next turn begins."""
        self._ahead.discard(task_id)
        if task_id not in self._running:  # of an engine that takes tasks at any time none is
            return
        self._running.remove(task_id)
        if not self._running:
            ahead, self._ahead = self._ahead, set()
            self._begin(ahead)

    def end_step(self, held: Container[int]) -> None:
        """Take note that a step is over, after which the caller still waits for those in `held`."""
        if any(task_id in held for task_id in self._running):
            self._is_long = True

    def clear(self) -> None:
        """Forget it all: the worker is gone."""
        self._ahead = set()
        self._begin(set())

    def _begin(self, ids: set[int]) -> None:
        self._running = ids
        self._is_near = False
        if ids:
            self._was_long, self._is_long = self._is_long, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        step_s = self._expect_s(len(ids)) if ids else 0.0
        if step_s >= _SHORTEST_S:
            lead_s = max(_LEAD_S, _LEAD_SHARE * step_s)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(step_s - lead_s, self._come_near)

    def _come_near(self) -> None:
        self._is_near = True
        self._on_near()
