"""TimeLimits: how long parts of some work may take, watched by one timer. Knows no work."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Final, Self


class TimeLimits:
    """Gives limits that share a timer, which rings when the first of them may be over.

    A timer for each, as `asyncio.timeout` has, would be made and cancelled for every small call,
    and almost none ever rings. `end` when no more limits come.
    """

    def __init__(self) -> None:
        self._limits: set[_TimeLimit] = set()
        self._timer: asyncio.TimerHandle | None = None
        #: By the event loop's clock. The timer itself cannot be asked: uvloop gives a plain handle
        #: for one that rings within half a millisecond.
        self._rings_at = math.inf
        #: Kept: asking for it costs a call of the system each time.
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that runs all tasks whose time is limited."""
        self._loop = self._loop or asyncio.get_running_loop()
        return self._loop

    def within(self, seconds: float) -> _TimeLimit:
        """Give a context in which the running task has so long; after that it raises TimeoutError.

        As with `asyncio.timeout`, the task is cancelled, and whoever else cancels it gets its way.
        """
        return _TimeLimit(self, seconds)

    def end(self) -> None:
        """Let go of the timer, and of the event loop."""
        self._stop_timer()
        self._loop = None

    def add(self, limit: _TimeLimit) -> None:
        """Watch a limit from now on."""
        if limit.end_s < self._rings_at:
            self._set_timer(limit.end_s)
        self._limits.add(limit)

    def discard(self, limit: _TimeLimit) -> None:
        """Watch it no more. The timer stays: the next limit most likely ends later."""
        self._limits.discard(limit)

    def _set_timer(self, at: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_at(at, self._ring)
        self._rings_at = at

    def _stop_timer(self) -> None:
        self._rings_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer, self._rings_at = None, math.inf
        now = self.loop.time()
        for limit in [each for each in self._limits if each.end_s <= now]:
            self._limits.remove(limit)
            limit.ring()
        if self._limits:
            self._set_timer(min(each.end_s for each in self._limits))


class _TimeLimit:
    """The time that a task has for what it does in a `with` block. For one use."""

    __slots__ = ("_is_over", "_limits", "_num_cancelled", "_seconds", "_task", "end_s")

    def __init__(self, limits: TimeLimits, seconds: float) -> None:
        self._limits: Final = limits
        self._seconds = seconds
        self._is_over = False

    def __enter__(self) -> Self:
        loop = self._limits.loop
        task = asyncio.current_task(loop)
        assert task is not None
        self._task = task
        self._num_cancelled = task.cancelling()
        #: When it is over, by the event loop's clock, in seconds.
        self.end_s = loop.time() + self._seconds
        self._limits.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._limits.discard(self)
        if not self._is_over:
            return
        is_ours = self._task.uncancel() <= self._num_cancelled
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def ring(self) -> None:
        """Cancel the task: its time is over."""
        self._is_over = True
        self._task.cancel()
