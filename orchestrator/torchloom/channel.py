"""Channel: the worker's end of its link to the scheduler. Knows no engine and no task."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterable
from typing import Final, Protocol

from torchloom.wire import AnyFrame, Frame, FrameReader, encode


_RECEIVE_BYTES = 1 << 20

_STANDARD_ERROR: Final = 2

_CHILD: Final = (
    "Process {child}, which the model's code forked off in worker {owner}, came back from its call "
    "as the worker itself does, and is ended: only the worker answers. Let the code end it by "
    "os._exit(0) when its work is done, or start it with multiprocessing.\n"
)


class Hangup(Exception):
    """The scheduler's end of the channel is closed."""


class Channel(Protocol):
    """The worker's end of its link to the scheduler."""

    def receive(self, *, wait: bool, timeout_s: float | None = None) -> Iterable[AnyFrame]:
        """Give the frames that have come; with `wait`, at least one, unless the time is over.

        Raises Hangup at the end.
        """
        ...

    def send(self, frame: Frame) -> None:
        """Send a frame. Raises TypeError for values that cannot travel, Hangup at the end."""
        ...


class SocketChannel:
    """A Channel over a connected stream socket.

    It is the process's that made it. A model's code may fork, and come back from its call twice:
    the child ends then, for it would answer, and take what is sent, in its parent's place.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._owner = os.getpid()
        self._connection = connection
        self._reader = FrameReader()

    def receive(self, *, wait: bool, timeout_s: float | None = None) -> list[AnyFrame]:
        """Give the frames that have come; with `wait`, at least one, unless the time is over."""
        self._end_child()
        frames: list[AnyFrame] = []
        if wait and timeout_s is not None:
            wait = self._wait_readable(timeout_s)
        while not frames:
            try:
                data = self._connection.recv(_RECEIVE_BYTES, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                raise Hangup from error
            if not data:
                raise Hangup
            frames.extend(self._reader.feed(data))
        return frames

    def _end_child(self) -> None:
        if os.getpid() != self._owner:
            told = _CHILD.format(child=os.getpid(), owner=self._owner)
            with contextlib.suppress(OSError):
                # By no stream: a thread may have held its lock when this process was forked off.
                os.write(_STANDARD_ERROR, told.encode())
            os._exit(0)  # and takes nothing apart that is its parent's, too

    def _wait_readable(self, timeout_s: float) -> bool:
        poll = select.poll()  # select.select looks at no descriptor beyond 1024
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000.0))

    def send(self, frame: Frame) -> None:
        """Send a frame whole."""
        self._end_child()
        data = encode(frame)
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise Hangup from error
