"""A process that ends with the one that has started it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from torchloom_models.child import Child, name_exit


#: Writes a word to its output, closes the pipe that it is told, and waits for ever.
WAITING = """
import os, sys, threading
from torchloom_models.child import leave_with_parent
leave_with_parent()
print(os.environ["WORD"], flush=True)
os.write(int(sys.argv[1]), b"there")
threading.Event().wait()
"""

#: Starts the one above as its child, and waits for ever.
PARENT = """
import sys, threading
from torchloom_models.child import Child
with Child("waiting_child", sys.argv[1], descriptors=[int(sys.argv[1])]):
    threading.Event().wait()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a module that waits, for children to run."""
    (tmp_path / "waiting_child.py").write_text(WAITING)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setenv("WORD", "hello")
    return "waiting_child"


def test_ends_where_the_block_ends(module: str, tmp_path: Path) -> None:
    """It has our environment and what that is given besides, writes to its log, and is killed."""
    reader, writer = os.pipe()
    with (tmp_path / "log").open("wb") as log:
        words = {"WORD": "other"}
        with Child(module, str(writer), log=log, environment=words, descriptors=[writer]) as child:
            assert os.read(reader, 5) == b"there"
        assert child.wait() == -signal.SIGKILL
    os.close(reader)
    os.close(writer)

    assert (tmp_path / "log").read_text() == "other\n"


def test_ends_when_it_is_asked_or_when_the_time_is_over(module: str) -> None:
    """What does not end by itself is killed."""
    reader, writer = os.pipe()
    for end, how in ((Child.stop, "SIGTERM"), (lambda _: None, "SIGKILL")):
        with Child(module, str(writer), descriptors=[writer]) as child:
            assert os.read(reader, 5) == b"there"
            end(child)
            assert name_exit(child.wait(5.0 if how == "SIGTERM" else 0.0)) == how
    os.close(reader)
    os.close(writer)


def test_goes_away_with_its_parent(module: str) -> None:
    """A child whose parent is killed lets go of all that it holds."""
    assert module == "waiting_child"
    reader, writer = os.pipe()
    command = [sys.executable, "-c", PARENT, str(writer)]
    with subprocess.Popen(command, pass_fds=[writer], stdout=subprocess.DEVNULL) as parent:
        os.close(writer)
        assert os.read(reader, 5) == b"there"
        assert select.select([reader], [], [], 0.0)[0] == []
        parent.kill()

    assert os.read(reader, 1) == b""  # when both have ended, and not before
    os.close(reader)


def test_names_how_a_process_has_ended() -> None:
    """By the name of the signal, where it has one."""
    assert [name_exit(code) for code in (0, 3, -11, -6, -63)] == [
        "exit code 0",
        "exit code 3",
        "SIGSEGV",
        "SIGABRT",
        "signal 63",
    ]
