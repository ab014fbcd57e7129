"""Watchdog: a time within which something is to happen, again and again. Knows not what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Watchdog:
    """Calls `on_late` once when nobody has come back to it in time. It watches after `begin`.

    Somebody comes back thousands of times a second: that moves the end, and makes no new timer.
    """

    def __init__(self, on_late: Callable[[], None]) -> None:
        self._on_late = on_late
        self._end: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, limit_s: float | None) -> None:
        """Watch from now on, for so long; None: there is no limit."""
        if limit_s is None:
            self._end = None
            return
        loop = asyncio.get_running_loop()
        self._end = loop.time() + limit_s
        if self._timer is not None and self._timer.when() > self._end:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(self._end, self._look)

    def end(self) -> None:
        """Watch no more."""
        self._end = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._end is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._end:
            self._timer = loop.call_at(self._end, self._look)
            return
        self._end = None
        self._on_late()
