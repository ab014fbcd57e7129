"""LogFeed: takes events at once, and feeds them to the process that writes them.

Forming and writing lines costs more than all else that a small request does: in this process it
would hold up the event loop. Whoever logs never waits. What comes faster than it can be written is
left out, and counted. Knows no form of a line and no file.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from torchloom_api.torchserve.telemetry.log_batch import AnyEvent, encode_event, join_events
from torchloom_api.torchserve.telemetry.log_layout import Level, LogEvent
from torchloom_api.torchserve.telemetry.log_order import LogOrder
from torchloom_api.torchserve.telemetry.measurement import Measured, Measurement
from torchloom_api.torchserve.telemetry.notice import tell_operator


#: How many events may wait, and of how many bytes together.
_MAX_WAITING: Final = 100_000
_MAX_WAITING_BYTES: Final = 64 << 20

#: Events that come within this time travel together, and how many do at most. Of a longer time
#: there are so many that to send and to write them holds up requests.
_PAUSE_S: Final = 0.01
_MAX_BATCH: Final = 1000

#: A process that ended is not started anew before this long.
_RETRY_S: Final = 5.0

#: At the end the process has this long to take what there is, and so long again to write it.
_END_S: Final = 10.0

#: Then it is killed. One that waits for a disk that is gone is not waited for.
_KILL_S: Final = 1.0

#: `-P`: what lies in the folder where the server was started is no module of ours.
_PROCESS: Final = (sys.executable, "-P", "-m", "torchloom_api.torchserve.telemetry.log_process")


class LogFeed:
    """Feeds events to a process; use it as a context. Events from before are kept for it."""

    def __init__(self, order: LogOrder, *, pause_s: float = _PAUSE_S) -> None:
        self.num_lost = 0
        self._order = order
        self._pause_s = pause_s
        #: Events as bytes: to pass many objects to another thread costs both threads more.
        self._waiting: deque[bytes] = deque()
        self._num_bytes = 0
        self._counting = threading.Lock()
        self._wake = threading.Event()
        #: Whether the thread has been woken, which asking the Event would tell more slowly.
        self._has_work = False
        self._is_ending = False
        #: Whether nothing is sent any more: the process does not take it.
        self._is_given_up = False
        self._process: subprocess.Popen[bytes]
        self._started_at = 0.0
        self._thread = threading.Thread(target=self._run, name="log-feed", daemon=True)

    def put(self, event: AnyEvent) -> None:
        """Take an event; never blocks."""
        if self._num_bytes >= _MAX_WAITING_BYTES or len(self._waiting) >= _MAX_WAITING:
            self.num_lost += 1
            return
        data = encode_event(event)
        with self._counting:
            self._num_bytes += len(data)
        self._waiting.append(data)
        if not self._has_work:
            self._has_work = True
            self._wake.set()

    def log(
        self, logger: str, message: str, *, level: Level = "INFO", thread: str = "main"
    ) -> None:
        """Take a message; never blocks."""
        self.put(LogEvent(logger, level, thread, time.time(), message))

    def measure(self, logger: str, values: Sequence[Measured]) -> None:
        """Take values of metrics; never blocks."""
        self.put(Measurement(logger, time.time(), values))

    def __enter__(self) -> Self:
        """Start the process, which makes the files, and begin to feed it."""
        self._start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Have all that there is written, unless that cannot be done in time."""
        self._is_ending = True
        self._wake.set()
        self._thread.join(_END_S)
        if self._thread.is_alive():
            self._is_given_up = True
            self._process.kill()
            self._thread.join(_KILL_S)
        self._end()
        num_left = len(self._waiting) + self.num_lost
        if num_left:
            tell_operator(f"At the end, {num_left} events of the logs could not be written.")

    def _start(self) -> None:
        self._started_at = time.monotonic()
        order = msgspec.json.encode(self._order).decode()
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [*_PROCESS, order], stdin=subprocess.PIPE, bufsize=0
        )

    def _run(self) -> None:
        while not self._is_ending:
            # What is left over could not be sent: a process that takes it is not there yet.
            self._wake.wait(_RETRY_S if self._waiting else None)
            if not self._is_ending:
                time.sleep(self._pause_s)
            self._wake.clear()
            self._has_work = False
            self._feed()
        self._feed()

    def _feed(self) -> None:
        """Send what waits now, and how much was left out; keep what nobody takes."""
        while (self._waiting or self.num_lost) and not self._rests:
            events = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_BATCH))]
            lost, self.num_lost = self.num_lost, 0
            if not self._send(join_events(lost, events)):
                self.num_lost += lost
                self._waiting.extendleft(reversed(events))
                return
            size = sum(map(len, events))
            with self._counting:
                self._num_bytes -= size

    @property
    def _is_early(self) -> bool:
        """Tell whether it is too early to start another process for one that has ended."""
        return not self._is_ending and time.monotonic() < self._started_at + _RETRY_S

    @property
    def _rests(self) -> bool:
        return self._is_early and self._process.poll() is not None

    def _send(self, data: bytes) -> bool:
        """Send whole batches; tell whether the process took them, or one in its place."""
        if self._write(data):
            return True
        if self._is_early or self._is_given_up:
            return False
        self._end()
        if self._is_given_up:
            return False
        tell_operator("The process that writes the logs has ended. Another starts.")
        try:
            self._start()
        except OSError as error:
            tell_operator(f"It cannot be started: {error}. That is tried again.")
            return False
        return self._write(data)

    def _write(self, data: bytes) -> bool:
        assert self._process.stdin is not None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._process.stdin.write(rest) :]
        except (OSError, ValueError):
            return False
        return True

    def _end(self) -> None:
        """End the process, once it has written all: it ends when nothing more can come."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILL_S)
