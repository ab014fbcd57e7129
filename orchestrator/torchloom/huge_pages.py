"""Huge pages: gathers what this process holds into pages of 2 MiB. Knows no engine.

Weights are read from end to end at each step of a language model, as fast as memory gives them.
In pages of 4 KiB that depends on which frames a process happened to get: of equal buffers on one
machine the first were read at three quarters of the speed of the last, and of those in huge pages.
malloc lays tensors anywhere, and libraries allocate as they like; so the pages are gathered after
the fact (madvise(2), MADV_COLLAPSE, Linux 6.1), and who allocated them does not matter.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import mmap
import threading
import time
from collections.abc import Iterator
from pathlib import Path


_log = logging.getLogger(__name__)

_MAPS = Path("/proc/self/maps")
_PAGEMAP = Path("/proc/self/pagemap")

#: Bytes of a huge page; where it is another size, the kernel says no.
HUGE = 2 << 20
_PER_HUGE = HUGE // mmap.PAGESIZE

#: A huge page is all resident. Where more than a tenth of it was not, memory would grow.
_LEAST_FULL = 0.9

#: A page's entry in pagemap (proc(5)) is a number of 64 bits, little-endian here; its highest bit
#: says whether it is resident.
_ENTRY = 8
_IS_RESIDENT = bytes(byte >> 7 for byte in range(256))

_MADV_COLLAPSE = 25

#: Whoever has waited for a worker to be ready asks it now. Gathering takes a core meanwhile: the
#: first answer of an encoder came 0.2 s later on two cores.
_DELAY_S = 1.0

#: From an address, so many bytes.
Stretch = tuple[int, int]


def gather() -> int:
    """Move what is nearly full of resident pages into huge ones; give the bytes of those tried.

    Takes about a second for 3 GiB. Nothing happens where the system cannot, or may not.
    """
    started = time.perf_counter()
    stretches: list[Stretch] = []
    with contextlib.suppress(OSError, ValueError):
        stretches = list(find_stretches(_MAPS.read_text("ascii", "replace")))
    _collapse(stretches)
    tried = sum(size for _, size in stretches)
    if tried:
        took_s = time.perf_counter() - started
        _log.info("Gathered %.0f MiB into huge pages in %.1f s.", tried / (1 << 20), took_s)
    return tried


def gather_beside(delay_s: float = _DELAY_S) -> None:
    """Gather in a thread, a little later, while the process does other things: nobody waits."""
    timer = threading.Timer(delay_s, gather)
    timer.name, timer.daemon = "huge-pages", True
    timer.start()


def find_stretches(maps: str) -> Iterator[Stretch]:
    """Give what is worth gathering of the memory that `maps` (proc(5)) lists."""
    with _PAGEMAP.open("rb", buffering=0) as pagemap:
        for line in maps.splitlines():
            start, end = _aligned(line)
            if start < end:
                pagemap.seek(start // mmap.PAGESIZE * _ENTRY)
                entries = pagemap.read((end - start) // mmap.PAGESIZE * _ENTRY)
                resident = entries[_ENTRY - 1 :: _ENTRY].translate(_IS_RESIDENT)
                yield from _full_stretches(start, resident)


def _aligned(line: str) -> Stretch:
    """Give the first and last address of whole huge pages of a mapping; an empty range for some.

    Those are what is shared, cannot be written, or belongs to a file, and stacks.
    """
    addresses, flags, _offset, _device, inode, *name = line.split(maxsplit=5)
    is_ours = flags.startswith("rw") and flags.endswith("p") and inode == "0"
    if not is_ours or (name and name[0].startswith("[stack")):
        return 0, 0
    first, last = (int(address, 16) for address in addresses.split("-"))
    return -(-first // HUGE) * HUGE, last // HUGE * HUGE


def _full_stretches(start: int, resident: bytes) -> Iterator[Stretch]:
    """Give the runs of huge pages that are full enough; `resident`: a byte of 0 or 1 for a page."""
    size = 0
    for first in range(0, len(resident), _PER_HUGE):
        if resident.count(1, first, first + _PER_HUGE) >= _LEAST_FULL * _PER_HUGE:
            size += HUGE
        else:
            if size:
                yield start, size
            start += size + HUGE
            size = 0
    if size:
        yield start, size


def _collapse(stretches: list[Stretch]) -> None:
    """Ask for it. What is refused (pinned, in use, no room) stays as it is."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, size in stretches:
        madvise(start, size, _MADV_COLLAPSE)
