"""Ending: how a worker's process has ended, in a word, and what is told of it. Knows no worker."""

from __future__ import annotations

import signal
from typing import Final

from torchloom.errors import ModelLoadError, OutOfMemory, WorkerDied


#: What a shell, or torchrun, gives as the exit code of what a signal has ended, less its number.
_BY_SIGNAL: Final = 128


def name_exit(code: int) -> str:
    """Name an exit code of Python's `subprocess`: below zero it is a signal's."""
    if code >= 0:
        return f"exit code {code}"
    names = {number.value: number.name for number in signal.Signals}  # not all have one
    return f"signal {names.get(-code, -code)}"


#: How processes end that the kernel kills when memory runs out; nobody is told that it was it.
_KILLED: Final = frozenset({name_exit(-signal.SIGKILL), name_exit(_BY_SIGNAL + signal.SIGKILL)})


def to_load_error(whose: str, how: str) -> ModelLoadError:
    """Say that a worker has ended before its model was loaded. 507 where it was killed."""
    error = ModelLoadError(f"The worker of model {whose!r} ended: {how}.")
    if how in _KILLED:
        error.status = OutOfMemory.status  # type: ignore[misc]  # of this one alone
    return error


def to_death(whose: str, how: str, *, has_begun: bool) -> WorkerDied:
    """Say that a task is given up with its worker: one that `has_begun` to answer, at once.

    507 where workers were killed again and again: once says little.
    """
    cause = "after it had begun to answer" if has_begun else "again and again"
    error = WorkerDied(f"The worker of {whose!r} ended ({how}) {cause}.")
    if how in _KILLED and not has_begun:
        error.status = OutOfMemory.status  # type: ignore[misc]  # of this one alone
    return error
