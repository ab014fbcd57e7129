"""Host: connects the processes of a group, and ends all of them as soon as one has died.

Knows no engine and no torchrun: whoever starts the processes tells them the host's address.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import selectors
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final, Never

from torchloom.errors import ModelLoadError
from torchloom.wire import Broken, Close, FrameReader, InvalidFrame, encode, to_error


#: What a process says first: its rank.
RANK: Final = struct.Struct("<I")

_RECEIVE_BYTES: Final = 1 << 16

#: Who is at the other end of a socket: process, user and group.
_CREDENTIALS: Final = struct.Struct("3i")

#: How long a process may take to end after its connections have.
_DYING_MS: Final = 1000

#: What shells give for a process that was killed: the server takes it for a lack of memory.
_CODE_OF_KILLED: Final = 128 + signal.SIGKILL

#: What the names of its folders begin with.
_PREFIX: Final = "torchloom-group-"

#: Anybody may put something of such a name there: what is no folder is neither waited for (a FIFO
#: waits for its other end) nor followed.
_CLAIM: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _make_folder() -> tuple[Path, int]:
    """Make a folder, and claim it for as long as this process lives: give it, and the claim."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with contextlib.suppress(FileNotFoundError):  # somebody took it for left behind
            claim = os.open(folder, _CLAIM)
            with contextlib.suppress(OSError):  # a file system without locks, for nobody
                fcntl.flock(claim, fcntl.LOCK_EX)
            if folder.exists():
                return folder, claim
            os.close(claim)


def _remove_left_behind() -> None:
    """Remove folders whose process was killed before all of its own were there."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is another user's, somebody's who lives, or none
            claim = os.open(folder, _CLAIM)
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(claim)


class Host:
    """Waits for `size` processes, and gives each its connections.

    The first has `link` (to the scheduler), and one to each of the others. What any of them sends
    here goes to the scheduler, too; but a Close says that it is about to end as it was asked to.
    """

    def __init__(self, link: socket.socket, size: int) -> None:
        self._link = link
        self._size = size
        _remove_left_behind()
        self._folder, self._claim = _make_folder()
        self.address = str(self._folder / "host")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen(size)
        self._ranks: dict[int, socket.socket] = {}

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="torchloom-host", daemon=True).start()

    def tell_broken(self, message: str) -> None:
        """Tell the scheduler why the processes are not there, if they never were."""
        if len(self._ranks) < self._size:
            with contextlib.suppress(OSError):
                self._link.sendall(encode(Broken(to_error(ModelLoadError(message)))))

    def end(self, code: int) -> Never:
        """End this process, and with it, as its kernel sees to, all that it has started."""
        shutil.rmtree(self._folder, ignore_errors=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _run(self) -> None:
        code = 1
        try:
            self._await()
            self._connect()
            code = self._watch()
        except (OSError, struct.error, InvalidFrame) as error:
            sys.stderr.write(f"The processes of a worker cannot be connected: {error}\n")
        self.end(code)

    def _await(self) -> None:
        """Wait until all are there. After that no kill of this process leaves a file behind."""
        while len(self._ranks) < self._size:
            connection, _ = self._listener.accept()
            said = connection.recv(RANK.size, socket.MSG_WAITALL)
            self._ranks[RANK.unpack(said)[0]] = connection
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connect(self) -> None:
        """Give each process its end of each of its connections."""
        to_others = []
        for rank in range(1, self._size):
            ours, theirs = socket.socketpair()
            to_others.append(ours)
            socket.send_fds(self._ranks[rank], [b"\0"], [theirs.fileno()])
            theirs.close()
        ends = [self._link.fileno(), *(each.fileno() for each in to_others)]
        socket.send_fds(self._ranks[0], [b"\0"], ends)
        for each in to_others:
            each.close()

    def _watch(self) -> int:
        """Pass on what processes send, until all have ended as asked: 0, or else one has died.

        Gives the exit code for this process then. Who ends first, as asked, must not cut the others
        short, which may have something to give back.
        """
        readers = {rank: FrameReader() for rank in self._ranks}
        leaving: set[int] = set()
        with selectors.DefaultSelector() as selector:
            for rank, connection in self._ranks.items():
                selector.register(connection, selectors.EVENT_READ, rank)
            while selector.get_map():
                for key, _ in selector.select():
                    data = self._ranks[key.data].recv(_RECEIVE_BYTES)
                    for frame in readers[key.data].feed(data):
                        if isinstance(frame, Close):
                            leaving.add(key.data)
                        else:
                            self._link.sendall(encode(frame))
                    if not data and key.data not in leaving:
                        return _CODE_OF_KILLED if _was_killed(self._ranks[key.data]) else 1
                    if not data:
                        selector.unregister(key.fileobj)
        return 0


def _was_killed(connection: socket.socket) -> bool:
    """Tell whether the process at the other end was killed, as where memory has run out.

    Nothing is taken from torchrun, whose child it is. False where torchrun was there before.
    """
    about = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _, _ = _CREDENTIALS.unpack(about)
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        process = os.pidfd_open(pid)
        try:
            ends = select.poll()
            ends.register(process, select.POLLIN)
            ends.poll(_DYING_MS)
            ended = os.waitid(os.P_PIDFD, process, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        finally:
            os.close(process)
        how = None if ended is None else (ended.si_code, ended.si_status)
        return how == (os.CLD_KILLED, signal.SIGKILL)
    return False
