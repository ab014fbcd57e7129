"""Turns: whose step runs at a worker that takes whole batches, and who was sent ahead of its end.

Without this a worker stands idle from the end of a step until the scheduler has heard of it and
sent the next batch. Knows task ids and a time, and neither tasks, worker nor queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable


#: The next batch may go this long before the step is expected to end: as long as a scheduler may
#: take to hear of it and to answer, and no longer, for what comes after it misses the step.
_LEAD_S = 0.0015

#: The same as a share of the step, where that is more: what a forecast is off by.
_LEAD_SHARE = 0.05

#: Of shorter steps the lead would be too large a part: only full batches go ahead of their ends,
#: which nobody could join any more.
_SHORTEST_S = 0.005

#: So many full batches are ahead of short steps at most.
_MOST_AHEAD = 16


class Turns:
    """The batch that a worker steps, and those that wait there for their turn.

    Nothing is sent ahead of a batch that takes several steps, nor of the one after it: nobody can
    say when such a batch ends, and who waits for it could meanwhile be served elsewhere.
    """

    def __init__(self, expect_s: Callable[[int], float], on_near: Callable[[], None]) -> None:
        self._expect_s = expect_s
        self._on_near = on_near
        self._running: set[int] = set()
        self._ahead: deque[set[int]] = deque()
        self._is_near = False
        self._num_full = 0
        self._is_long = self._was_long = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def takes_ahead(self) -> bool:
        """Tell whether a batch may be sent ahead now."""
        return self._is_near and not (self._ahead or self._is_long or self._was_long)

    @property
    def takes_full(self) -> bool:
        """Tell whether a batch may be sent ahead now if it is a full one."""
        has_room = len(self._ahead) < self._num_full
        return has_room and not (self._is_long or self._was_long)

    def stepped(self, held: Iterable[int]) -> set[int]:
        """Give, of what the worker holds, the batch whose step runs.

        Of an engine that takes tasks at any time, that is all.
        """
        known = set(held)
        return self._running & known if self._running else known

    def add(self, ids: Iterable[int]) -> None:
        """Take note of a batch that is sent: it runs, or waits for its turn."""
        if self._running:
            self._ahead.append(set(ids))
        else:
            self._begin(set(ids))

    def remove(self, task_id: int) -> None:
        """Take note that the worker holds a task no more; after the last the next turn begins."""
        if task_id in self._running:
            self._running.remove(task_id)
            if not self._running:
                self._begin(self._ahead.popleft() if self._ahead else set())
            return
        # Of an engine that takes tasks at any time there is none.
        for batch in self._ahead:
            if task_id in batch:
                batch.remove(task_id)
                if not batch:
                    self._ahead.remove(batch)
                return

    def end_step(self, held: Iterable[int]) -> None:
        """Take note that a step is over, after which the caller still waits for those in `held`."""
        if not self._running.isdisjoint(held):
            self._is_long = True

    def clear(self) -> None:
        """Forget it all: the worker is gone."""
        self._ahead.clear()
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
        is_short = 0.0 < step_s < _SHORTEST_S
        self._num_full = min(1 + int(_LEAD_S / step_s), _MOST_AHEAD) if is_short else 0
        if step_s >= _SHORTEST_S:
            lead_s = max(_LEAD_S, _LEAD_SHARE * step_s)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(step_s - lead_s, self._come_near)

    def _come_near(self) -> None:
        self._is_near = True
        self._on_near()
