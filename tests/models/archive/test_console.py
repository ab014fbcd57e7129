"""What handlers print."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator

import pytest
from model_fakes.clock import Clock

from torchloom_models.archive import console as console_module
from torchloom_models.archive.console import Console, take_over


@pytest.fixture
def lines() -> list[str]:
    """Give what was written."""
    return []


@pytest.fixture
def console(lines: list[str], clock: Clock) -> Console:
    """Give a console that writes there."""
    return Console(lambda _, line: lines.append(line), now=clock)


def test_hands_whole_lines_on(console: Console, lines: list[str]) -> None:
    """What is printed in pieces is one line."""
    print("a", "b", file=console)
    print("c", end="", file=console)
    console.flush()
    print("d\n\ne", file=console)

    assert lines == ["a b", "cd", "", "e"]


def test_cuts_long_lines(console: Console, lines: list[str]) -> None:
    """A line without end does not grow, whether it comes at once or in pieces."""
    print("x" * 5_000_000, file=console)
    for _ in range(100):
        console.write("y" * 100)
    console.write("\n")

    assert [len(line) for line in lines] == [2000, 2000]


def test_leaves_out_what_comes_too_fast(console: Console, lines: list[str], clock: Clock) -> None:
    """Gigabytes do not fill the log; how much was left out is told with the next line."""
    for _ in range(100):
        print("z" * 79 + "\n" + ("w" * 79 + "\n") * 10_000, file=console, end="")
    num_written = len(lines)
    clock.now_s += 10
    print("later", file=console)

    assert sum(len(line) for line in lines) < 2 * (256 << 10)
    assert "left out" in lines[num_written]
    assert lines[-1] == "later"


def test_writes_what_has_no_utf8(console: Console, lines: list[str]) -> None:
    """A log can hold every line."""
    print("\ud800", file=console)

    assert lines == ["?"]
    assert console.writable()
    assert console.encoding == "utf-8"


@pytest.fixture
def output() -> Iterator[None]:
    """Put this process's own output back at the end."""
    kept, stream = os.dup(1), sys.stdout
    yield
    sys.stdout = stream
    os.dup2(kept, 1)
    os.close(kept)


@pytest.mark.usefixtures("output")
def test_leaves_the_streams_apart_where_they_are_read(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, native code prints where it would."""
    monkeypatch.setenv("TORCHLOOM_PRINTS_PLAIN", "1")
    caplog.set_level(logging.INFO, console_module.__name__)
    before = os.fstat(1).st_ino
    take_over()
    sys.stdout.write("hello\n")

    assert caplog.messages == ["hello"]
    assert os.fstat(1).st_ino == before


def test_leaves_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt of a debugger has no line's end, and is shown all the same."""
    monkeypatch.setenv("TORCHLOOM_AT_TERMINAL", "1")
    before = sys.stdout, os.fstat(1).st_ino
    take_over()

    assert (sys.stdout, os.fstat(1).st_ino) == before


def test_takes_the_place_of_the_output(caplog: pytest.LogCaptureFixture) -> None:
    """`print` is logged, and native code prints where errors go."""
    caplog.set_level(logging.INFO, console_module.__name__)
    take_over()
    sys.stdout.write("hello\n")

    assert caplog.messages == ["hello"]
    assert os.fstat(1).st_ino == os.fstat(2).st_ino
