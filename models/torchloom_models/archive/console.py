"""Console: what handlers print becomes lines of the worker's log, as many as it can bear.

The server's own output belongs to the server: a handler that prints gigabytes fills neither that
nor the log. What goes beyond a rate is left out, and counted.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Final

from torchloom.worker_process import AT_TERMINAL, PRINTS_PLAIN


_log = logging.getLogger(__name__)

#: The longest line; what follows is left out.
_MAX_LINE: Final = 2000

#: How much may be printed at once, and each second on the average, in characters.
_BURST: Final = 256 << 10
_RATE_S: Final = 32 << 10


def take_over() -> None:
    """Let `print` go to the log, and what native code prints to where the log goes.

    At a terminal nothing changes: what is printed there is what its owner has come for.
    """
    if AT_TERMINAL in os.environ:
        return
    sys.stdout.flush()
    if PRINTS_PLAIN not in os.environ:  # there the log goes to standard output
        os.dup2(2, 1)
    sys.stdout = Console(_log.info)


class Console(io.TextIOBase):
    """Takes the place of `sys.stdout`. Hands whole lines on."""

    def __init__(
        self, write_line: Callable[[str, str], None], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._write_line = write_line
        self._now = now
        self._begun = ""
        self._allowance = float(_BURST)
        self._refilled_at = now()
        self._num_lost = 0

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a constant here
        """Name the encoding, for those who ask."""
        return "utf-8"

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Take a text; lines that are complete leave."""
        start = 0
        while (end := text.find("\n", start)) >= 0:
            if not self._has_room():
                self._num_lost += len(text) - start
                self._begun = ""
                return len(text)
            self._take(text[start : min(end, start + _MAX_LINE)])
            self._leave()
            start = end + 1
        self._take(text[start : start + _MAX_LINE])
        return len(text)

    def flush(self) -> None:
        """Do nothing: what is no line yet may still become one."""

    def _take(self, part: str) -> None:
        self._begun = (self._begun + part)[:_MAX_LINE]

    def _leave(self) -> None:
        line, self._begun = self._begun, ""
        self._allowance -= len(line) + 1
        if self._num_lost:
            lost, self._num_lost = self._num_lost, 0
            self._write_line("%s", f"({lost} characters were printed too fast, and left out)")
        self._write_line("%s", line.encode("utf-8", "replace").decode())

    def _has_room(self) -> bool:
        now = self._now()
        self._allowance = min(_BURST, self._allowance + (now - self._refilled_at) * _RATE_S)
        self._refilled_at = now
        return self._allowance > 0
