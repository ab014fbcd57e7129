"""Executors start and stop workers: as local processes, or as threads of this process.

They know frames and how a worker ends, and nothing of tasks, queues or models.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Protocol, cast

from torchloom.channel import Hangup
from torchloom.cores import Cores
from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.ending import name_exit
from torchloom.wire import AnyFrame, Close, Frame, FrameReader, InvalidFrame, Open, encode
from torchloom.worker import Worker, open_engine
from torchloom.worker_environment import worker_environment
from torchloom.worker_process import AT_TERMINAL, PRINTS_PLAIN


_log = logging.getLogger(__name__)

#: A worker that has closed its link must have ended within this time, or it is killed.
_EXIT_S = 5.0

#: After its end, what a worker has sent is waited for no longer than this.
_LAST_WORDS_S = 1.0

#: Called with the frames of a worker, those that came together at once.
OnFrames = Callable[[Iterable[AnyFrame]], None]

#: Called once when a worker has ended, with a word on how.
OnEnd = Callable[[str], None]


class Streams(Protocol):
    """Where one worker process prints to, in place of where this process does."""

    #: The descriptors that it gets.
    stdout: int
    stderr: int

    def begin(self, pid: int) -> None:
        """Hear which process it is."""
        ...


#: Opens the streams of a worker; what is left of them here is closed once it has them.
OpenStreams = Callable[[Deployment], AbstractContextManager[Streams]]


class Link(Protocol):
    """The scheduler's end of its link to a worker."""

    #: The process, or None for a thread of this one.
    pid: int | None

    def send(self, frame: Frame) -> None:
        """Send a frame; never blocks. After the worker's end it does nothing."""
        ...

    def kill(self) -> None:
        """End the worker at once, whatever it does. Its end is reported as any other."""
        ...

    async def wait(self) -> None:
        """Wait until the worker has ended."""
        ...


class Executor(Protocol):
    """Starts workers."""

    async def start(
        self, deployment: Deployment, device: Device, on_frames: OnFrames, on_end: OnEnd
    ) -> Link:
        """Start a worker, which opens the engine and reports by frames.

        Raises OSError, RuntimeError or TypeError where none can be started.
        """
        ...


class ProcessLink(asyncio.Protocol):
    """A Link to a worker in a process of its own, over a socket pair."""

    def __init__(self, on_frames: OnFrames, on_end: OnEnd) -> None:
        self.pid: int | None = None
        self._on_frames = on_frames
        self._on_end = on_end
        self._reader = FrameReader()
        self._transport: asyncio.Transport
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None]
        self._is_closed = asyncio.Event()
        self._exit_timer: asyncio.TimerHandle | None = None
        self._is_killed = False
        #: Frames of one turn of the event loop, which wake the worker once.
        self._outgoing: list[bytes] = []

    async def start(
        self,
        command: list[str],
        environment: dict[str, str],
        streams: Streams | None = None,
        *,
        has_input: bool = False,
    ) -> None:
        """Start the process, which finds its end of the pair as the last argument.

        `has_input`: it reads from where this process does, and not from nowhere.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self, sock=ours)
            self._process = await asyncio.create_subprocess_exec(
                *command,
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=None if has_input else asyncio.subprocess.DEVNULL,
                stdout=None if streams is None else streams.stdout,
                stderr=None if streams is None else streams.stderr,
            )
        self.pid = self._process.pid
        self._watch = asyncio.create_task(self._report_end())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand every whole frame on; a worker that sends anything else is killed."""
        try:
            self._on_frames(self._reader.feed(data))
        except InvalidFrame:
            _log.exception("Worker %s is broken; it is killed.", self.pid)
            self.kill()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's face
        """See to it that a process which nobody can talk to any more does not live on."""
        self._is_closed.set()
        if self._process is not None and self._process.returncode is None:
            self._exit_timer = asyncio.get_running_loop().call_later(_EXIT_S, self.kill)

    def send(self, frame: Frame) -> None:
        """Send a frame, with all others of this turn of the event loop."""
        data = encode(frame)
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(data)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if not self._transport.is_closing():
            self._transport.write(b"".join(outgoing))

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None and self._process.returncode is None:
            self._is_killed = True
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def wait(self) -> None:
        """Wait until the process has ended and its end is reported."""
        await asyncio.shield(self._watch)

    async def _report_end(self) -> None:
        assert self._process is not None
        code = await self._process.wait()
        # What it sent before its end may still be on the way: the link closes after that.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._is_closed.wait()
        if self._exit_timer is not None:
            self._exit_timer.cancel()
        self._transport.close()
        how = name_exit(code)
        self._on_end(f"{how}, by the scheduler" if self._is_killed else how)


class LocalExecutor:
    """Starts workers as processes of this machine, which share its cores (see `placement.py`).

    Thread counts are set, and cores chosen, before any framework is imported (see
    `worker_environment.py`). With `open_streams` each prints where that says, without the stamps of
    our own log. Where it `is_at_terminal`, each has this process's terminal, so that a debugger in
    a model's code finds who sits there. What `hidden` matches as a whole of the names in this
    process's environment, no worker sees; what is `added` each does.
    """

    def __init__(
        self,
        cores: Cores | None = None,
        *,
        open_streams: OpenStreams | None = None,
        is_at_terminal: bool = False,
        hidden: re.Pattern[str] | None = None,
        added: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._cores = cores or Cores()
        self._hidden = hidden
        self._added = added
        self._open_streams = open_streams
        self._is_at_terminal = is_at_terminal

    async def start(
        self, deployment: Deployment, device: Device, on_frames: OnFrames, on_end: OnEnd
    ) -> Link:
        """Start a worker process. Raises OSError, and TypeError if its config cannot be sent."""
        frame = _open(deployment, device)
        encode(frame)  # before there is a process to leave behind
        worker = object()

        def end(how: str) -> None:
            self._cores.release(worker)
            on_end(how)

        link = ProcessLink(on_frames, end)
        command = [sys.executable, "-m", *(deployment.program or ("torchloom.worker",))]
        share = self._cores.take(worker, deployment.label, deployment.threads, device)
        try:
            environment = worker_environment(deployment.threads, share, self._hidden)
            environment |= self._added
            await self._start(link, command, environment, deployment)
        except BaseException:
            self._cores.release(worker)
            raise
        assert link.pid is not None
        self._cores.settle(worker, share, link.pid)
        link.send(frame)
        return link

    async def _start(
        self,
        link: ProcessLink,
        command: list[str],
        environment: dict[str, str],
        deployment: Deployment,
    ) -> None:
        if self._is_at_terminal:
            await link.start(command, {**environment, AT_TERMINAL: "1"}, has_input=True)
            return
        if self._open_streams is None:
            await link.start(command, environment)
            return
        with self._open_streams(deployment) as streams:
            await link.start(command, {**environment, PRINTS_PLAIN: "1"}, streams)
            assert link.pid is not None
            streams.begin(link.pid)


def _open(deployment: Deployment, device: Device) -> Open:
    config = dict(deployment.config)
    return Open(deployment.factory, config, str(device), deployment.prepare)


class ThreadLink:
    """A Link to a worker in a thread of this process; also that worker's Channel.

    A thread cannot be killed: `kill` makes its link dead and lets the thread end after its step.
    """

    pid: int | None = None

    def __init__(self, on_frames: OnFrames, on_end: OnEnd) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_frames = on_frames
        self._on_end = on_end
        self._frames: queue.SimpleQueue[AnyFrame | None] = queue.SimpleQueue()
        self._ended = asyncio.Event()
        self._is_dead = False

    def start(self, frame: Open) -> None:
        """Start the thread."""
        name = f"torchloom-{frame.factory}"
        threading.Thread(target=self._serve, args=(frame,), name=name, daemon=True).start()

    def _serve(self, frame: Open) -> None:
        try:
            with contextlib.suppress(Hangup):
                engine = open_engine(frame, _ThreadChannel(self))
                if engine is not None:
                    Worker(engine, _ThreadChannel(self)).serve()
        finally:
            self._post(self._end, "the thread ended")

    def _post(self, function: Callable[..., None], *arguments: object) -> None:
        # The loop may be gone when the server ends before the thread does.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _end(self, how: str) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._on_end(how)

    def send(self, frame: Frame) -> None:
        """Send a frame."""
        self._frames.put(frame)  # type: ignore[arg-type]  # only worker-bound frames come here

    def kill(self) -> None:
        """Cut the link; the thread ends when it next looks."""
        self._is_dead = True
        self._frames.put(None)
        self._end("cut off")

    async def wait(self) -> None:
        """Wait until the thread has ended, or was cut off."""
        await self._ended.wait()

    def take(self, *, wait: bool, timeout_s: float | None = None) -> Iterable[AnyFrame]:
        """Give the worker its frames (called in the thread)."""
        frames: list[AnyFrame] = []
        with contextlib.suppress(queue.Empty):
            while not self._is_dead:
                frame = self._frames.get(wait and not frames, timeout_s)
                if frame is None:
                    break
                frames.append(frame)
                if isinstance(frame, Close):
                    break
        if self._is_dead:
            raise Hangup
        return frames

    def deliver(self, frame: Frame) -> None:
        """Hand a frame of the worker on (called in the thread)."""
        if self._is_dead:
            raise Hangup
        self._post(self._receive, frame)

    def _receive(self, frame: AnyFrame) -> None:
        # One that was on its way when the link was cut comes from nowhere.
        if not self._ended.is_set():
            self._on_frames((frame,))


class _ThreadChannel:
    """The worker's view of a ThreadLink."""

    def __init__(self, link: ThreadLink) -> None:
        self._link = link

    def receive(self, *, wait: bool, timeout_s: float | None = None) -> Iterable[AnyFrame]:
        return self._link.take(wait=wait, timeout_s=timeout_s)

    def send(self, frame: Frame) -> None:
        self._link.deliver(frame)


class InlineExecutor:
    """Starts workers as threads: for engines whose work is too small to be worth a hop."""

    async def start(
        self, deployment: Deployment, device: Device, on_frames: OnFrames, on_end: OnEnd
    ) -> Link:
        """Start a worker thread."""
        link = ThreadLink(on_frames, on_end)
        link.start(_open(deployment, device))
        return link
