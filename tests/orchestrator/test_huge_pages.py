"""Huge pages: finds memory that is full, gathers it, and leaves the rest alone."""

from __future__ import annotations

import ctypes
import mmap
import platform
import queue
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from torchloom import huge_pages
from torchloom.huge_pages import HUGE, find_stretches, gather


_ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

needs_linux = pytest.mark.skipif(
    platform.system() != "Linux" or not Path("/proc/self/pagemap").exists(),
    reason="reads /proc/self/pagemap",
)


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _fill(memory: mmap.mmap, pages: Iterator[int] | range) -> None:
    for page in pages:
        memory[page * mmap.PAGESIZE] = 7


def _huge_kib(address: int) -> int:
    """Read how much of the mapping with this address lies in huge pages."""
    text = Path("/proc/self/smaps").read_text("ascii")
    for part in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", text):
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", part)
        if match and int(match[1], 16) <= address < int(match[2], 16):
            return int(re.search(r"AnonHugePages:\s+(\d+)", part)[1])  # type: ignore[index]
    raise AssertionError(f"no mapping holds {address:x}")


def _free_huge_pages() -> int:
    """Count the free stretches of a huge page's size, which lie together as they are."""
    per_huge = HUGE // mmap.PAGESIZE
    count = 0
    for line in Path("/proc/buddyinfo").read_text("ascii").splitlines():
        blocks = [int(each) for each in line.split()[4:]]
        count += sum(
            n * (1 << order) // per_huge for order, n in enumerate(blocks) if 1 << order >= per_huge
        )
    return count


def _line(first: int, size: int, rest: str = "rw-p 00000000 00:00 0") -> str:
    return f"{first:x}-{first + size:x} {rest}"


@needs_linux
def test_gathers_what_is_full_and_keeps_what_it_says() -> None:
    """A buffer of eight huge pages' size, all of it written to."""
    memory = mmap.mmap(-1, 8 * HUGE, flags=_ANONYMOUS)
    _fill(memory, range(8 * HUGE // mmap.PAGESIZE))
    before = bytes(memory)
    assert gather() >= 7 * HUGE
    assert bytes(memory) == before
    libc = ctypes.CDLL(None)
    start = -(-_address(memory) // HUGE) * HUGE
    if libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(HUGE), 25) != 0:
        pytest.skip("this kernel has no MADV_COLLAPSE")
    if _free_huge_pages() < 16:
        pytest.skip("too little free memory lies together to gather anything in it")
    assert _huge_kib(start) >= 7 * HUGE >> 10


@needs_linux
def test_finds_runs_of_huge_pages_that_are_nearly_full() -> None:
    """What was never written to would be allocated by it: memory must not grow."""
    memory = mmap.mmap(-1, 8 * HUGE, flags=_ANONYMOUS)
    first = -(-_address(memory) // HUGE) * HUGE
    offset, per_huge = (first - _address(memory)) // mmap.PAGESIZE, HUGE // mmap.PAGESIZE
    full = [0, 1, 3, 6]
    for number in full:
        _fill(memory, range(offset + number * per_huge, offset + (number + 1) * per_huge))
    half = offset + 4 * per_huge
    _fill(memory, range(half, half + per_huge // 2))
    found = list(find_stretches(_line(_address(memory), 8 * HUGE)))
    assert found == [(first, 2 * HUGE), (first + 3 * HUGE, HUGE), (first + 6 * HUGE, HUGE)]


@needs_linux
@pytest.mark.parametrize(
    "rest",
    [
        pytest.param("rw-s 00000000 00:01 0", id="shared"),
        pytest.param("r--p 00000000 00:00 0", id="read only"),
        pytest.param("rw-p 00000000 fe:00 123 /usr/lib/x.so", id="of a file"),
        pytest.param("rw-p 00000000 00:00 0 [stack]", id="the stack"),
    ],
)
def test_leaves_other_memory_alone(rest: str) -> None:
    """Only what is private, anonymous and written to is this process's own."""
    memory = mmap.mmap(-1, 4 * HUGE, flags=_ANONYMOUS)
    _fill(memory, range(4 * HUGE // mmap.PAGESIZE))
    assert list(find_stretches(_line(_address(memory), 4 * HUGE))) != []
    assert list(find_stretches(_line(_address(memory), 4 * HUGE, rest))) == []
    assert list(find_stretches(_line(_address(memory), HUGE // 2))) == []


@pytest.mark.parametrize("text", [None, "not what is expected\n"])
def test_does_nothing_where_the_system_does_not_tell(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere there is no /proc, or another one."""
    maps = tmp_path / "maps"
    if text is not None:
        maps.write_text(text, "ascii")
        (tmp_path / "pagemap").touch()
    monkeypatch.setattr(huge_pages, "_MAPS", maps)
    monkeypatch.setattr(huge_pages, "_PAGEMAP", tmp_path / "pagemap")
    assert gather() == 0


def test_gathers_in_a_thread_that_ends_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it: neither who asks for it, nor the end of the process."""
    seen: queue.Queue[threading.Thread] = queue.Queue()
    monkeypatch.setattr(huge_pages, "gather", lambda: seen.put(threading.current_thread()))
    huge_pages.gather_beside(delay_s=0)
    thread = seen.get(timeout=60)

    assert thread is not threading.current_thread()
    assert thread.daemon
