"""Footprint: what an engine holds, told by itself or by the growth of its process."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom import footprint
from torchloom.engine import BatchEngine
from torchloom.footprint import bytes_of, resident_bytes


class _Told(BatchEngine):
    def __init__(self, count: int) -> None:
        super().__init__(lambda _: [], max_tasks=1)
        self._count = count

    def memory_bytes(self) -> int:
        return self._count


class _Promised(BatchEngine):
    def reserved_bytes(self) -> int:
        return 1 << 40


def _silent() -> BatchEngine:
    return BatchEngine(lambda _: [], max_tasks=1)


def test_believes_an_engine_that_can_tell() -> None:
    """A GPU's memory is not the process's."""
    assert bytes_of(_Told(7), 0) == bytes_of(_Told(7), None) == 7


def test_counts_the_growth_of_the_process() -> None:
    """Of an engine that cannot tell: 64 MiB more are seen, within what an allocator may do."""
    before = resident_bytes()
    held = bytearray(b"x") * (64 << 20)
    assert bytes_of(_silent(), before) >= len(held) // 2
    assert bytes_of(_Told(0), before) >= len(held) // 2
    assert bytes_of(_silent(), before + (1 << 40)) == 0


def test_counts_what_is_promised() -> None:
    """Memory that was set aside takes none before it is written to, and is nobody else's."""
    engine = _Promised(lambda _: [], max_tasks=1)
    assert bytes_of(engine, resident_bytes()) >= 1 << 40
    assert bytes_of(engine, None) == 0


def test_says_nothing_of_a_shared_process() -> None:
    """The server's own process grows for many reasons."""
    assert bytes_of(_silent(), None) == 0


def test_knows_nothing_where_the_system_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without /proc there is no figure, and nobody fails for it."""
    monkeypatch.setattr(footprint, "_STATM", tmp_path / "statm")
    assert resident_bytes() == 0
