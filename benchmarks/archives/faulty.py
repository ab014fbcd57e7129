"""A handler that fails as it is told: at its load by a file, at a request by its body.

Notes its loads and the sizes of its batches in its folder, which the benchmark writes in.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


FOLDER = Path("FOLDER")

_LONGEST_S = 300.0


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:  # noqa: ARG001 - as handlers are called
    """Do what the first row says; None is the call at the load, which the file `load` rules."""
    if data is None:
        _note("loads", "loaded")
        deed = FOLDER / "load"
        _do(deed.read_text("utf-8") if deed.exists() else "")
        return None
    rows = [bytes(row.get("body") or row.get("data") or b"").decode() for row in data]
    _note("batches", " ".join(rows))
    _do(rows[0])
    return rows


def _note(name: str, text: str) -> None:
    with (FOLDER / name).open("a", encoding="utf-8") as notes:
        notes.write(f"{text}\n")


def _do(deed: str) -> None:
    do, _, detail = deed.partition(":")
    if do == "exit":
        os._exit(int(detail))
    if do == "raise":
        raise ValueError(detail)
    if do == "memory":
        raise MemoryError
    if do == "hold":
        _hold(FOLDER / detail)


def _hold(release: Path) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + _LONGEST_S
    while not release.exists() and time.monotonic() < end:
        time.sleep(0.02)
