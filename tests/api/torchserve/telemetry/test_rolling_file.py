"""A file of lines that is put aside when it is large or old."""

from __future__ import annotations

import gzip
import os
from datetime import datetime
from pathlib import Path

import pytest

from torchloom_api.torchserve.telemetry.log_plan import Rolling
from torchloom_api.torchserve.telemetry.rolling_file import RollingFile


NOON = datetime(2026, 11, 26, 12).astimezone().timestamp()
DAY = 86_400.0


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> float:
        """Tell the time."""
        return self.time


@pytest.fixture
def clock() -> Clock:
    """Give a clock."""
    return Clock()


def open_file(folder: Path, clock: Clock, *, pattern: str, **rolling: object) -> RollingFile:
    """Open a file that rolls by this pattern."""
    plan = Rolling(pattern=str(folder / pattern), **rolling)  # type: ignore[arg-type]  # tests give any
    return RollingFile(folder / "a.log", plan, now=clock, settle_s=0.0)


def write(file: RollingFile, text: str, clock: Clock) -> None:
    """Write a line, at the clock's time."""
    file.write(f"{text}\n".encode())
    os.utime(file.path, (clock.time, clock.time))


def contents(folder: Path) -> dict[str, str]:
    """Give what is in each file."""
    found = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        found[path.name] = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return found


def test_puts_a_day_aside(tmp_path: Path, clock: Clock) -> None:
    """Under the name of the day that it is of, packed, as TorchServe does."""
    file = open_file(tmp_path, clock, pattern="a.%d{dd-MMM}.log.gz", is_daily=True)
    write(file, "first", clock)
    clock.time += DAY / 4
    write(file, "still", clock)
    clock.time += DAY
    write(file, "second", clock)
    file.close()

    assert contents(tmp_path) == {"a.26-Nov.log.gz": "first\nstill\n", "a.log": "second\n"}


def test_puts_aside_what_an_earlier_server_has_left(tmp_path: Path, clock: Clock) -> None:
    """The day is that of its last line."""
    first = open_file(tmp_path, clock, pattern="a.%d{dd-MMM}.log.gz", is_daily=True)
    write(first, "first", clock)
    first.close()
    clock.time += DAY
    second = open_file(tmp_path, clock, pattern="a.%d{dd-MMM}.log.gz", is_daily=True)
    write(second, "second", clock)
    second.close()

    assert contents(tmp_path) == {"a.26-Nov.log.gz": "first\n", "a.log": "second\n"}


def test_puts_a_large_file_aside(tmp_path: Path, clock: Clock) -> None:
    """Those of one day are numbered, and the oldest gives way: what is kept is bounded."""
    file = open_file(tmp_path, clock, pattern="a.%d{dd-MMM}.log.gz", max_bytes=4, max_files=3)
    for number in range(6):
        write(file, f"line {number}", clock)
        file.close()  # waits for the packing

    assert contents(tmp_path) == {
        "a.26-Nov.log.gz": "line 2\n",
        "a.26-Nov.2.log.gz": "line 3\n",
        "a.26-Nov.3.log.gz": "line 4\n",
        "a.log": "line 5\n",
    }


def test_numbers_where_the_pattern_says_so(tmp_path: Path, clock: Clock) -> None:
    """From 1 on, and without packing where no `.gz` is asked for."""
    file = open_file(tmp_path, clock, pattern="old/a.%i.txt", max_bytes=4, max_files=2)
    for number in range(4):
        write(file, f"line {number}", clock)
    file.close()

    assert contents(tmp_path / "old") == {"a.1.txt": "line 1\n", "a.2.txt": "line 2\n"}


def test_writes_beside_another_server(tmp_path: Path, clock: Clock) -> None:
    """When that one has put the file aside, the new one is written to."""
    ours, theirs = (
        open_file(tmp_path, clock, pattern="a.%d{dd-MMM}.log", max_bytes=12, max_files=5)
        for _ in range(2)
    )
    write(ours, "ours 1", clock)
    write(theirs, "theirs 1", clock)
    write(ours, "ours 2", clock)
    write(theirs, "theirs 2", clock)
    ours.close()
    theirs.close()

    assert contents(tmp_path) == {
        "a.26-Nov.log": "ours 1\ntheirs 1\n",
        "a.log": "ours 2\ntheirs 2\n",
    }


def test_makes_its_file_and_folder(tmp_path: Path, clock: Clock) -> None:
    """An empty one says that nothing has happened yet."""
    file = RollingFile(tmp_path / "logs" / "a.log", Rolling(), now=clock)
    file.open()
    file.close()

    assert contents(tmp_path / "logs") == {"a.log": ""}


def test_says_that_it_cannot_be_written(tmp_path: Path, clock: Clock) -> None:
    """Whoever writes is told."""
    (tmp_path / "logs").write_text("a file where the folder is to be")
    file = RollingFile(tmp_path / "logs" / "a.log", Rolling(), now=clock)
    with pytest.raises(FileExistsError):
        file.write(b"line\n")
