"""Notices: what the operator is told that the logs themselves cannot be told. Knows no log."""

from __future__ import annotations

import contextlib
import sys


def tell_operator(text: str) -> None:
    """Write a line to standard error, where there is one and somebody takes it."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"WARNING - {text}\n")
            sys.stderr.flush()
