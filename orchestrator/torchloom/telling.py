"""Telling: what one worker is told while it serves, and what it answers. Knows no tasks."""

from __future__ import annotations

import asyncio
import logging

from torchloom.errors import TorchLoomError, WorkerDied
from torchloom.executor import Link
from torchloom.setting import Settings
from torchloom.wire import Applied, Apply, from_error


_log = logging.getLogger(__name__)


class Telling:
    """Settings on their way to a worker; `standing` is told to each new one before its first task.

    A setting that a new worker does not take keeps it from nothing: `notes` say so.
    """

    def __init__(self, whose: str, standing: Settings) -> None:
        self.notes: tuple[str, ...] = ()
        self._whose = whose
        self._standing = standing
        self._link: Link | None = None
        self._owed: dict[int, asyncio.Future[None]] = {}
        self._last = 0

    def begin(self, link: Link | None) -> None:
        """Tell a new worker all that stands."""
        self._link, self.notes = link, ()
        for key, value in self._standing.items():
            self.tell(key, value).add_done_callback(self._note)

    def tell(self, key: str, value: object) -> asyncio.Future[None]:
        """Tell the worker a setting; give its answer, or what it raised, or WorkerDied."""
        reply = asyncio.get_running_loop().create_future()
        if self._link is None:
            reply.set_exception(WorkerDied(f"The worker of {self._whose!r} has ended."))
            return reply
        self._last += 1
        self._owed[self._last] = reply
        self._link.send(Apply(self._last, key, value))
        return reply

    def hear(self, frame: Applied) -> None:
        """Pass an answer on, unless whoever asked has left."""
        reply = self._owed.pop(frame.id)
        if reply.done():
            return
        if frame.error is None:
            reply.set_result(None)
        else:
            reply.set_exception(from_error(frame.error))

    def end(self) -> None:
        """Fail all that is owed: the worker has ended."""
        self._link = None
        owed, self._owed = self._owed, {}
        for reply in owed.values():
            if not reply.done():
                reply.set_exception(WorkerDied(f"The worker of {self._whose!r} ended."))

    def _note(self, reply: asyncio.Future[None]) -> None:
        error = reply.exception()
        if isinstance(error, TorchLoomError) and not isinstance(error, WorkerDied):
            _log.error("A worker of %s serves without a setting: %s", self._whose, error)
            self.notes = (*self.notes, error.message)
