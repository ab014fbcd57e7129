"""WorkerOutput: what worker processes print becomes lines of the log, as many as it can bear.

Reads pipes on the event loop, never blocks it, and never holds more than one line of each. Knows
no file: whoever makes it says where lines go.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal

from torchloom.deployment import Deployment


StreamName = Literal["stdout", "stderr"]

#: Takes a line: of a worker of this model, in this process, on this stream.
OnLine = Callable[[Deployment, int, StreamName, str], None]

#: How much is read at once, and how much of a worker within a pause: more waits in the pipe.
_READ_BYTES: Final = 1 << 16
_MAX_BYTES_A_PAUSE: Final = 4 << 20
_PAUSE_S: Final = 0.05

#: How much may be logged at once, and each second on the average: what is beyond is left out.
_BURST: Final = 8 << 20
_RATE_S: Final = 1 << 20

#: A longer line is cut into several.
_MAX_LINE: Final = 1 << 16


#: Progress bars end their lines by \r alone; one that comes last may have its \n still to come.
_END: Final = re.compile(rb"\r?\n|\r(?!\Z)")


class _Stream:
    """One end of a pipe."""

    def __init__(
        self, descriptor: int, write: Callable[[str], None], now: Callable[[], float]
    ) -> None:
        self._descriptor = descriptor
        self._write = write
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._begun = b""
        self._allowance = float(_BURST)
        self._refilled_at = now()
        self._num_lost = 0
        self._num_read = 0
        self._pause: asyncio.TimerHandle | None = None
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    @property
    def is_open(self) -> bool:
        """Tell whether more may come."""
        return self._descriptor >= 0

    def close(self) -> None:
        """Read no more; what is no whole line yet is one."""
        if not self.is_open:
            return
        self._loop.remove_reader(self._descriptor)
        if self._pause is not None:
            self._pause.cancel()
        os.close(self._descriptor)
        self._descriptor = -1
        if self._begun:
            self._leave(self._begun)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.take(data)
        self._num_read += len(data)
        if self._num_read >= _MAX_BYTES_A_PAUSE:
            self._loop.remove_reader(self._descriptor)
            self._pause = self._loop.call_later(_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._num_read = 0
        self._loop.add_reader(self._descriptor, self._read)

    def take(self, data: bytes) -> None:
        """Take what was printed; whole lines leave, unless there were too many."""
        now = self._now()
        refilled = self._allowance + (now - self._refilled_at) * _RATE_S
        self._allowance, self._refilled_at = min(_BURST, refilled), now
        if self._allowance <= 0:
            self._num_lost += len(data) + len(self._begun)
            self._begun = b""
            return
        self._allowance -= len(data)
        if self._num_lost:
            self._write(f"({self._num_lost} bytes were printed too fast, and left out)")
            self._num_lost = 0
        *lines, self._begun = _END.split(self._begun + data)
        for line in lines:
            self._leave(line)
        while len(self._begun) > _MAX_LINE:
            self._leave(self._begun[:_MAX_LINE])
            self._begun = self._begun[_MAX_LINE:]

    def _leave(self, line: bytes) -> None:
        self._write(line.rstrip(b"\r").decode("utf-8", "replace"))


class Streams:
    """Where one worker prints to: the two descriptors that its process gets."""

    def __init__(self, stdout: int, stderr: int) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.pid = 0

    def begin(self, pid: int) -> None:
        """Hear which process it is."""
        self.pid = pid


class WorkerOutput:
    """Opens pipes for workers, and reads them until they end or it is closed."""

    def __init__(self, on_line: OnLine, *, now: Callable[[], float] = time.monotonic) -> None:
        self._on_line = on_line
        self._now = now
        self._open: list[_Stream] = []

    @contextmanager
    def open(self, deployment: Deployment) -> Iterator[Streams]:
        """Give a worker's descriptors; they are closed here at the end, when it has its own."""
        pipes = [os.pipe(), os.pipe()]
        streams = Streams(pipes[0][1], pipes[1][1])
        names: tuple[StreamName, ...] = ("stdout", "stderr")
        self._open = [each for each in self._open if each.is_open]
        for (reading, _), name in zip(pipes, names, strict=True):
            self._open.append(_Stream(reading, self._writer(deployment, streams, name), self._now))
        try:
            yield streams
        finally:
            for _, writing in pipes:
                with suppress(OSError):
                    os.close(writing)

    def close(self) -> None:
        """Read no more."""
        for stream in self._open:
            stream.close()
        self._open.clear()

    def _writer(
        self, deployment: Deployment, streams: Streams, name: StreamName
    ) -> Callable[[str], None]:
        return lambda line: self._on_line(deployment, streams.pid, name, line)
