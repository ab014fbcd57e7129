"""ExitCode: what the shell is told. Knows no command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended. The numbers are part of the interface: scripts rely on them."""

    OK = 0
    #: The command ran and did not succeed: a run failed, a model did not load.
    FAILED = 1
    #: The command line is wrong. The number is click's own.
    USAGE = 2
    #: A file that was given does not pass the checks; each fault was printed.
    INVALID_FILE = 3
    #: No server answers at the address.
    UNREACHABLE = 4
    #: The server has no such workflow, model or run.
    NOT_FOUND = 5
    #: Ended by Ctrl-C, as shells count it: 128 + SIGINT.
    INTERRUPTED = 130
