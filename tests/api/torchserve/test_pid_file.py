"""The pid file: one server for each temporary folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from torchloom_api.torchserve.pid_file import PidFile


def test_lies_in_the_folder_that_temp_names(tmp_path: Path) -> None:
    """TEMP makes room for several servers on one machine."""
    assert PidFile.find({"TEMP": str(tmp_path)}).path == tmp_path / ".model_server.pid"
    assert PidFile.find({}).path.parent == Path(tempfile.gettempdir())


def test_finds_the_process_that_it_names(tmp_path: Path) -> None:
    """What was written is found; nothing else is left in the folder."""
    pid_file = PidFile(tmp_path / "pid")
    pid_file.write(os.getpid())
    process = pid_file.read()
    assert process is not None
    assert process.pid == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == ["pid"]


@pytest.mark.parametrize("text", ["", "nothing", "99999999", "-1"])
def test_finds_nothing_in_a_file_that_names_no_process(tmp_path: Path, text: str) -> None:
    """A file that a crash left, or that is broken, is no running server."""
    (tmp_path / "pid").write_text(text)
    assert PidFile(tmp_path / "pid").read() is None
    assert PidFile(tmp_path / "none").read() is None


def test_takes_no_stranger_for_the_server(tmp_path: Path) -> None:
    """A process that is younger than the file has the number by chance: it is not to be ended."""
    pid_file = PidFile(tmp_path / "pid")
    pid_file.write(os.getpid())
    os.utime(pid_file.path, (1, 1))
    assert pid_file.read() is None


def test_is_removed_by_its_own_process_alone(tmp_path: Path) -> None:
    """A server that ends late leaves the file of the one that took its place."""
    pid_file = PidFile(tmp_path / "pid")
    pid_file.write(os.getpid())
    pid_file.remove(os.getppid())
    assert pid_file.path.exists()
    pid_file.remove(os.getpid())
    assert not pid_file.path.exists()
