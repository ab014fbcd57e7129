"""Watchdog: a time within which something is to happen, again and again. Knows not what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Watchdog:
    """Calls `on_late` once when nobody has come back to it in time. It watches after `begin`."""

    def __init__(self, on_late: Callable[[], None]) -> None:
        self._on_late = on_late
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, limit_s: float | None) -> None:
        """Watch from now on, for so long; None: there is no limit."""
        self.end()
        if limit_s is not None:
            self._timer = asyncio.get_running_loop().call_later(limit_s, self._on_late)

    def end(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
