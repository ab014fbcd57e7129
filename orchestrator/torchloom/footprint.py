"""Footprint: what an engine holds of its device's memory. Knows no framework.

An engine that can tell says so itself (a GPU's allocator knows); for any other, the growth of the
worker's process since before the engine was opened counts, libraries included, and what is promised
to it beyond that.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Protocol, runtime_checkable

from torchloom.engine import Engine


#: Linux: sizes of this process in pages; the second is what is resident.
_STATM = Path("/proc/self/statm")


@runtime_checkable
class Measured(Protocol):
    """An engine that can tell what it holds of its device's memory."""

    def memory_bytes(self) -> int:
        """Give the bytes; 0 where it cannot tell for this device."""
        ...


@runtime_checkable
class Reserving(Protocol):
    """An engine that will take more of the machine's memory than it has touched yet."""

    def reserved_bytes(self) -> int:
        """Give the bytes that are promised to it."""
        ...


def resident_bytes() -> int:
    """Give the resident memory of this process; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return 0


def bytes_of(engine: Engine, before: int | None) -> int:
    """Give what an engine holds; `before`: resident bytes of its own process before it was opened.

    None stands for a process that is shared with others, whose growth says nothing of this engine.
    """
    told = engine.memory_bytes() if isinstance(engine, Measured) else 0
    if told or before is None:
        return told
    reserved = engine.reserved_bytes() if isinstance(engine, Reserving) else 0
    return max(resident_bytes() - before, 0) + reserved
