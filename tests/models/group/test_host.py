"""Folders of groups: none is left for good, and none is taken from one that lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


_HOST = """
import os, signal, socket, sys
from torchloom_models.group.host import Host
host = Host(socket.socketpair()[0], 2)
print(host.address, flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()
"""

#: A launcher whose processes do nothing; what it is told is done by one of them.
_GROUP = """
import subprocess, socket, sys, time
from torchloom_models.group.host import Host
host = Host(socket.socketpair()[0], 2)
host.start()
program = "import os, signal, socket, sys; link = socket.socket(socket.AF_UNIX);"
program += "link.connect(sys.argv[1]); link.sendall(int(sys.argv[2]).to_bytes(4, 'little'));"
program += "socket.recv_fds(link, 1, 2);"
deeds = ["sys.stdin.read()", sys.argv[1]]
for rank, deed in enumerate(deeds):
    words = [sys.executable, "-c", program + deed, host.address, str(rank)]
    subprocess.Popen(words, stdin=subprocess.PIPE)
sys.stdin.read()
"""


def _start(place: Path, how: str, script: str = _HOST) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, how],
        env={**os.environ, "TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _address(host: subprocess.Popen[str]) -> Path:
    assert host.stdout is not None
    return Path(host.stdout.readline().strip())


def test_passes_over_what_is_no_folder(tmp_path: Path) -> None:
    """Others may put there what they like: none waits for it, or follows it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.mkfifo(tmp_path / "torchloom-group-fifo")
    (tmp_path / "torchloom-group-link").symlink_to(elsewhere)
    (tmp_path / "torchloom-group-file").touch()
    before = sorted(tmp_path.iterdir())

    with _start(tmp_path, "lives") as host:
        own = _address(host).parent
        assert own.is_dir()
        host.communicate()

    assert [each for each in sorted(tmp_path.iterdir()) if each != own] == before


@pytest.mark.parametrize("num_killed", [1, 3])
def test_removes_what_killed_ones_have_left(tmp_path: Path, num_killed: int) -> None:
    """The next one does, and leaves alone what others still need."""
    killed = [_start(tmp_path, "killed") for _ in range(num_killed)]
    for each in killed:
        each.communicate()
    with _start(tmp_path, "lives") as first:
        there = _address(first)
        with _start(tmp_path, "lives") as second:
            also = _address(second)
            assert sorted(tmp_path.iterdir()) == sorted([there.parent, also.parent])
            assert there.is_socket()
            assert also.is_socket()
            second.kill()
        first.kill()


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 1),
        ("sys.exit(9)", 1),
    ],
)
def test_ends_as_a_killed_one_where_one_of_its_own_was(
    tmp_path: Path, deed: str, code: int
) -> None:
    """By the code that is taken for a lack of memory; by 1 where one has failed."""
    with _start(tmp_path, deed, _GROUP) as group:
        assert group.wait() == code
