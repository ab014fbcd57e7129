"""Terminal: how standard input's terminal was set up, to be so again.

The prompt of a debugger sets it up anew. Where its process is killed, nothing that is typed is
shown any more, until somebody puts that right.
"""

from __future__ import annotations

import contextlib
import os
import sys
import termios


class Terminal:
    """Remembers how the terminal is when it is made. Where there is none, it does nothing."""

    def __init__(self) -> None:
        self._input: int | None = None
        with contextlib.suppress(OSError, ValueError, AttributeError, termios.error):
            descriptor = sys.stdin.fileno()
            self._was = termios.tcgetattr(descriptor)
            self._input = descriptor

    def restore(self) -> None:
        """Let it be as it was; one that another process has in hand is left alone."""
        if self._input is None:
            return
        with contextlib.suppress(OSError, termios.error):
            if os.tcgetpgrp(self._input) == os.getpgrp():
                termios.tcsetattr(self._input, termios.TCSADRAIN, self._was)
