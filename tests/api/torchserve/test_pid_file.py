"""The pid file: one server for each temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from torchloom_api.torchserve.pid_file import MARK, PidFile


@pytest.fixture
def server() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that is called as a server is, and ends with the test."""
    words = [sys.executable, "-X", MARK, "-c", "input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        yield process
        process.communicate(b"\n")


def test_lies_in_the_folder_that_temp_names(tmp_path: Path) -> None:
    """TEMP makes room for several servers on one machine."""
    assert PidFile.find({"TEMP": str(tmp_path)}).path == tmp_path / ".model_server.pid"
    assert PidFile.find({}).path.parent == Path(tempfile.gettempdir())


def test_finds_the_process_that_it_names(tmp_path: Path, server: subprocess.Popen[bytes]) -> None:
    """What was written is found; nothing else is left in the folder."""
    pid_file = PidFile(tmp_path / "pid")
    pid_file.write(server.pid)
    process = pid_file.read()
    assert process is not None
    assert process.pid == server.pid
    assert [path.name for path in tmp_path.iterdir()] == ["pid"]


@pytest.mark.parametrize("text", ["", "nothing", "99999999", "-1"])
def test_finds_nothing_in_a_file_that_names_no_process(tmp_path: Path, text: str) -> None:
    """A file that a crash left, or that is broken, is no running server."""
    (tmp_path / "pid").write_text(text)
    assert PidFile(tmp_path / "pid").read() is None
    assert PidFile(tmp_path / "none").read() is None


def test_takes_no_stranger_for_the_server(tmp_path: Path, server: subprocess.Popen[bytes]) -> None:
    """A process that is younger than the file has the number by chance: it is not to be ended."""
    pid_file = PidFile(tmp_path / "pid")
    pid_file.write(server.pid)
    os.utime(pid_file.path, (1, 1))
    assert pid_file.read() is None


def test_takes_nothing_else_for_the_server(tmp_path: Path) -> None:
    """So does one of another container, whatever its words are: it does not hold the file."""
    pid_file = PidFile(tmp_path / "pid")
    words = [sys.executable, "-c", "input()", "/var/log/torchserve/ts.log", "torchserve"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        pid_file.write(process.pid)
        assert pid_file.read() is None
        process.communicate(b"\n")


def test_knows_a_server_by_the_file_that_it_holds(tmp_path: Path) -> None:
    """However it is called: a program of somebody's own may start one."""
    pid_file = PidFile(tmp_path / "pid")
    with pid_file.held():
        process = pid_file.read()
        assert process is not None
        assert process.pid == os.getpid()
    assert pid_file.read() is None
    assert list(tmp_path.iterdir()) == []


def test_is_removed_by_its_own_process_alone(
    tmp_path: Path, server: subprocess.Popen[bytes]
) -> None:
    """A server that ends late leaves the file of the one that took its place."""
    pid_file = PidFile(tmp_path / "pid")
    pid_file.write(server.pid)
    pid_file.remove(os.getpid())
    assert pid_file.path.exists()
    pid_file.remove(server.pid)
    assert not pid_file.path.exists()
