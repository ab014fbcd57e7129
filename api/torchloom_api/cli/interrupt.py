"""Ctrl-C: how a command that is interrupted ends. Knows no command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.screen import error_screen


@contextmanager
def interruptible() -> Iterator[None]:
    """Say that the command was cancelled, and end it with the exit code for that."""
    try:
        yield
    except KeyboardInterrupt:
        error_screen.print("\nCancelled.")
        raise SystemExit(ExitCode.INTERRUPTED) from None
