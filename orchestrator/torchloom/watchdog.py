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
        #: Kept here: uvloop's handle of a timer that rings within half a millisecond does not say.
        self._looks_at = 0.0

    def begin(self, limit_s: float | None) -> None:
        """Watch from now on, for so long; None: there is no limit."""
        if limit_s is None:
            self._end = None
            return
        loop = asyncio.get_running_loop()
        self._end = loop.time() + limit_s
        if self._timer is not None and self._looks_at > self._end:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._look_at(self._end)

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
        if asyncio.get_running_loop().time() < self._end:
            self._look_at(self._end)
            return
        self._end = None
        self._on_late()

    def _look_at(self, moment: float) -> None:
        self._looks_at = moment
        self._timer = asyncio.get_running_loop().call_at(moment, self._look)
