"""A worker's process: what it needs of the machine before any engine is opened. Knows no engine."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final


#: Set where somebody reads what a worker prints, line by line: what is logged is printed as it is,
#: to standard output, and a model's code keeps the two streams apart.
PRINTS_PLAIN: Final = "TORCHLOOM_PRINTS_PLAIN"

#: Set where the worker has the terminal, at which somebody sits who works on the model's code.
AT_TERMINAL: Final = "TORCHLOOM_AT_TERMINAL"

#: What a line of the log begins with. At a terminal it is short, and says whose it is.
_STAMPS: Final = "%(asctime)s %(levelname)s worker"

#: prctl(2): the signal that this process gets when its parent dies.
_PR_SET_PDEATHSIG: Final = 1


def settle_in(environment: Mapping[str, str]) -> None:
    """Bind this process to its parent and to its cores; let it log, and no signal end it."""
    die_with_parent()
    _pin(environment)
    # These reach the whole process group; the server decides when workers end, so as to drain.
    # No SIG_IGN: what a model's code starts would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    _begin_log(environment)


def die_with_parent() -> None:
    """Ask the kernel to end this process with its parent, where it can (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _pin(environment: Mapping[str, str]) -> None:
    """Stay on the cores that the executor chose, where it chose any."""
    cores = environment.get("TORCHLOOM_CORES")
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})


def _begin_log(environment: Mapping[str, str]) -> None:
    """Log to standard error, with stamps; or as plain lines to standard output."""
    if PRINTS_PLAIN in environment:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        return
    stamps = "%(levelname)s %(name)s" if AT_TERMINAL in environment else _STAMPS
    logging.basicConfig(level=logging.INFO, format=f"{stamps}: %(message)s")
