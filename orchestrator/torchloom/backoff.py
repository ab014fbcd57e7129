"""Backoff: when something that has ended is begun again; later each time that it ends at once.

Knows no worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


#: Seconds before the next beginning: the first time at once.
_WAITS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


class Backoff:
    """Calls `begin` after a wait that grows until `forgive` says that all is well again."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._failures = 0
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """Begin again after the next wait."""
        wait_s = _WAITS_S[min(self._failures, len(_WAITS_S) - 1)]
        self._failures += 1
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._begin)

    def forgive(self) -> None:
        """Wait no time at all the next time."""
        self._failures = 0

    def cancel(self) -> None:
        """Begin nothing that was scheduled."""
        if self._timer is not None:
            self._timer.cancel()
