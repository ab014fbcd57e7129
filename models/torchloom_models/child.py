"""Child: a process of ours that works for this one, and ends with it. Knows not at what.

Its stdin stays open as long as its parent lives: that is how it knows. What a child runs calls
`leave_with_parent` first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Self

from torchloom.worker_process import die_with_parent


class Child:
    """`python -m MODULE WORDS…` in the environment of this process: it lives as long as a block.

    It writes to `log`, or where this process does. It inherits `descriptors`.
    """

    def __init__(
        self,
        module: str,
        *words: str,
        log: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        self._command = [sys.executable, "-m", module, *words]
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._descriptors = descriptors
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        """Start it. Raises OSError where that fails."""
        self._process = subprocess.Popen(  # noqa: S603 - our own module, by this interpreter
            self._command,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            env=self._environment,
            pass_fds=self._descriptors,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill it, if it still runs."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end and give its exit code, or less than 0: minus the signal that ended it.

        What has not ended after `timeout_s` is killed.
        """
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def stop(self) -> None:
        """Ask it to end. May be called from another thread."""
        self._process.terminate()


def name_exit(code: int) -> str:
    """Say how a process has ended: `SIGSEGV`, `exit code 3`."""
    named = {number.value: number.name for number in signal.Signals}
    return f"exit code {code}" if code >= 0 else named.get(-code, f"signal {-code}")


def leave_with_parent() -> None:
    """Let this process end when the one that has started it goes away, whatever it is busy with."""
    die_with_parent()  # where the kernel can: native code may keep our thread from running
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    """Wait for the end of stdin, which the parent holds open. No buffer: its lock outlives us."""
    while os.read(0, 1):
        pass
    os._exit(1)
