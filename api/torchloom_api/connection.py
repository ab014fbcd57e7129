"""Connection: what a request knows of its client's connection: that it is lost. Knows no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final


#: The key under which a Connection travels in the ASGI scope.
CONNECTION_KEY: Final = "torchloom.connection"


class Connection:
    """Tells whoever watches it that the client has left.

    `resume_reading`: a connection that is not read does not notice that.
    """

    __slots__ = ("_is_lost", "_resume_reading", "_watchers")

    def __init__(self, resume_reading: Callable[[], None]) -> None:
        self._resume_reading = resume_reading
        self._watchers: set[Callable[[], object]] = set()
        self._is_lost = False

    def watch(self, on_lost: Callable[[], object]) -> None:
        """Have a function called, once, when the client leaves; soon, if it already has."""
        self._watchers.add(on_lost)
        if self._is_lost:
            asyncio.get_running_loop().call_soon(self.lose)
        else:
            self._resume_reading()

    def unwatch(self, on_lost: Callable[[], object]) -> None:
        """Call it no more."""
        self._watchers.discard(on_lost)

    def lose(self) -> None:
        """Tell that the client has left."""
        self._is_lost = True
        watchers, self._watchers = self._watchers, set()
        for each in watchers:
            each()
