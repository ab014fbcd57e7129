"""Channel: whole frames from a socket, with and without waiting, and the other end's end."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterable

import pytest

from torchloom.channel import Hangup, SocketChannel
from torchloom.wire import Cancel, Close, encode


@pytest.fixture
def pair() -> Iterable[tuple[socket.socket, SocketChannel]]:
    """Give the scheduler's socket, and the worker's channel at its other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, SocketChannel(theirs)


def test_receives_whole_frames_from_a_socket(pair: tuple[socket.socket, SocketChannel]) -> None:
    """Without waiting, or when the time is over, it gives what has come, be it nothing."""
    ours, channel = pair
    assert channel.receive(wait=False) == []
    data = encode(Cancel([1])) + encode(Cancel([2]))
    ours.sendall(data[:-3])
    assert channel.receive(wait=True) == [Cancel([1])]
    assert channel.receive(wait=True, timeout_s=0.0) == []
    assert channel.receive(wait=False) == []
    ours.sendall(data[-3:])
    assert channel.receive(wait=True, timeout_s=20.0) == [Cancel([2])]


def test_notices_that_the_scheduler_is_gone(pair: tuple[socket.socket, SocketChannel]) -> None:
    """The end of the stream is a hang-up, for those who read and for those who write."""
    ours, channel = pair
    ours.close()
    for look in (lambda: channel.receive(wait=True), lambda: channel.receive(wait=False)):
        with pytest.raises(Hangup):
            look()
    with pytest.raises(Hangup):
        channel.send(Close())


def test_takes_a_broken_connection_for_a_hang_up(
    pair: tuple[socket.socket, SocketChannel],
) -> None:
    """A scheduler that was killed with frames unread resets the connection."""
    ours, channel = pair
    channel.send(Close())
    ours.close()
    with pytest.raises(Hangup):
        channel.receive(wait=False)


_FORK = """
import os, socket, sys
from torchloom.channel import SocketChannel
from torchloom.wire import Cancel

channel = SocketChannel(socket.socket(fileno=int(sys.argv[1])))
child = os.fork()
if child or sys.argv[2] == "send":
    channel.send(Cancel([1 if child else 2]))
else:
    channel.receive(wait=True)
if not child:
    os._exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("what", ["send", "receive"])
def test_is_not_for_those_who_are_forked_off(what: str) -> None:
    """A model's code that comes back twice from its call answers once, and the log says why."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            command = [sys.executable, "-c", _FORK, str(theirs.fileno()), what]
            worker = subprocess.run(
                command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True, check=False
            )
        frames = SocketChannel(ours).receive(wait=True)

    assert worker.returncode == 0
    assert frames == [Cancel([1])]
    assert worker.stderr.count("\n") == 1
    assert "came back from its call" in worker.stderr
    assert "os._exit(0)" in worker.stderr


def test_looks_at_sockets_of_any_number() -> None:
    """A server with thousands of clients starts workers whose descriptors are beyond 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    ours, theirs = socket.socketpair()
    number = 2000
    os.dup2(theirs.fileno(), number)
    try:
        with ours, theirs, socket.socket(fileno=number) as high:
            assert SocketChannel(high).receive(wait=True, timeout_s=0.0) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
