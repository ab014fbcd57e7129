"""Ending: how a worker's process has ended, in a word, and what is told of it. Knows no worker."""

from __future__ import annotations

import signal
from typing import Final

from torchloom.errors import ModelLoadError, WorkerDied


#: What a shell, or torchrun, gives as the exit code of what a signal has ended, less its number.
_BY_SIGNAL: Final = 128

_NO_MEMORY: Final = 507


def name_exit(code: int) -> str:
    """Name an exit code of Python's `subprocess`: below zero it is a signal's."""
    if code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}"


#: How processes end that the kernel kills when memory runs out; nobody is told that it was it.
_KILLED: Final = frozenset({name_exit(-signal.SIGKILL), name_exit(_BY_SIGNAL + signal.SIGKILL)})


def to_load_error(whose: str, how: str) -> ModelLoadError:
    """Say that a worker has ended before its model was loaded. 507 where it was killed."""
    error = ModelLoadError(f"The worker of model {whose!r} ended: {how}.")
    if how in _KILLED:
        error.status = _NO_MEMORY  # type: ignore[misc]  # of this one alone
    return error


def to_death(whose: str, how: str, cause: str) -> WorkerDied:
    """Say that a task is given up with its worker. 507 where that was killed."""
    error = WorkerDied(f"The worker of {whose!r} ended ({how}) {cause}.")
    if how in _KILLED:
        error.status = _NO_MEMORY  # type: ignore[misc]  # of this one alone
    return error
