"""Executors: workers as processes and as threads, and how their ends are told."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import uvloop
from loom_fakes.engines import PATIENCE_S, Gate, deploy
from loom_fakes.recorder import Recorder

from torchloom import executor as executor_module
from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.engine import BatchEngine
from torchloom.executor import (
    Executor,
    InlineExecutor,
    Link,
    LocalExecutor,
    ProcessLink,
    Streams,
    ThreadLink,
)
from torchloom.wire import (
    Admit,
    AnyFrame,
    Broken,
    Cancel,
    Close,
    Events,
    Progress,
    Ready,
    ResultEvent,
)
from torchloom.worker import Hangup
from torchloom.worker_process import AT_TERMINAL


CPU = Device("cpu")

#: A process that does what follows with `connection`, its end of the link.
_SCRIPT = "import os, socket, sys; connection = socket.socket(fileno=int(sys.argv[1])); "


def _is_ready(frame: AnyFrame) -> bool:
    return isinstance(frame, Ready)


def _is_events(frame: AnyFrame) -> bool:
    return isinstance(frame, Events)


async def _start(executor: Executor, factory: str = "open_echo") -> tuple[Link, Recorder]:
    recorder = Recorder()
    link = await executor.start(deploy(factory), CPU, recorder.on_frames, recorder.on_end)
    return link, recorder


async def _start_script(script: str) -> tuple[ProcessLink, Recorder]:
    recorder = Recorder()
    link = ProcessLink(recorder.on_frames, recorder.on_end)
    await link.start([sys.executable, "-c", _SCRIPT + script], dict(os.environ))
    return link, recorder


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("executor", [LocalExecutor(), InlineExecutor()], ids=["process", "thread"])
@pytest.mark.usefixtures("worker_path")
async def test_serves_and_ends_when_asked(executor: Executor) -> None:
    """Both runtimes keep one contract: progress, ready, events, and one end."""
    link, recorder = await _start(executor)
    ready = await recorder.wait_for(_is_ready)
    assert isinstance(ready, Ready)
    assert (ready.device, ready.max_tasks) == ("cpu", 8)
    assert recorder.frames[0] == Progress("opening", 0.5)
    link.send(Admit([(5, {"text": "a"}, {"seed": 1}, False)]))
    events = await recorder.wait_for(_is_events)
    assert isinstance(events, Events)
    (result,) = events.events
    assert isinstance(result, ResultEvent)
    assert (result.id, result.outputs["text"], result.outputs["params"]) == (5, "a", {"seed": 1})
    assert link.pid in {None, result.outputs["pid"]}
    link.send(Close())
    await link.wait()
    assert await recorder.wait_end() in {"exit code 0", "the thread ended"}
    link.send(Close())
    link.kill()


@pytest.mark.parametrize("executor", [LocalExecutor(), InlineExecutor()], ids=["process", "thread"])
@pytest.mark.parametrize("factory", ["open_broken", "open_buggy"])
@pytest.mark.usefixtures("worker_path")
async def test_ends_after_an_engine_that_does_not_open(executor: Executor, factory: str) -> None:
    """Why it did not open is heard before the end, and nothing is left running."""
    link, recorder = await _start(executor, factory)
    assert isinstance(await recorder.wait_for(lambda f: isinstance(f, Broken)), Broken)
    await recorder.wait_end()
    await link.wait()
    assert link.pid is None or not _is_alive(link.pid)


@pytest.mark.usefixtures("worker_path")
async def test_tells_how_a_process_ended() -> None:
    """An exit code or the name of the signal, also while the engine is being opened."""
    _, crashed = await _start(LocalExecutor(), "open_crashing")
    assert await crashed.wait_end() == "exit code 7"
    link, stuck = await _start(LocalExecutor(), "open_stuck")
    await stuck.wait_for(lambda frame: isinstance(frame, Progress))
    link.kill()
    await link.wait()
    assert stuck.ends == ["signal SIGKILL, by the scheduler"]
    assert link.pid is not None
    assert not _is_alive(link.pid)


async def test_hears_what_a_process_said_before_its_end() -> None:
    """Megabytes sent in the last moment arrive, whole, before the end is told."""
    frame = Progress("x" * 5_000_000, None)
    script = (
        "from torchloom.wire import *; "
        "connection.sendall(encode(Progress('x' * 5_000_000, None))); os._exit(3)"
    )
    _, recorder = await _start_script(script)
    assert await recorder.wait_end() == "exit code 3"
    assert recorder.frames == [frame]


async def test_does_not_wait_for_heirs_of_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that a dead worker has left behind with its link holds up no end."""
    monkeypatch.setattr(executor_module, "_LAST_WORDS_S", 0.01)
    _, recorder = await _start_script("os.fork() and os._exit(4); connection.recv(1)")
    assert await recorder.wait_end() == "exit code 4"


async def test_kills_a_process_that_sends_garbage() -> None:
    """What is no frame can be followed by nothing sensible."""
    link, recorder = await _start_script(r"connection.sendall(b'\1\0\0\0\xff'); connection.recv(1)")
    assert await recorder.wait_end() == "signal SIGKILL, by the scheduler"
    assert recorder.frames == []
    await link.wait()


async def test_kills_a_process_that_lives_on_without_its_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that nobody can talk to any more must not keep its device."""
    monkeypatch.setattr(executor_module, "_EXIT_S", 0.01)
    _, recorder = await _start_script("connection.close(); import signal; signal.pause()")
    assert await recorder.wait_end() == "signal SIGKILL, by the scheduler"


class _Files:
    """The streams of one worker: two files."""

    def __init__(self, folder: Path) -> None:
        self.files = [(folder / name).open("w+") for name in ("stdout", "stderr")]
        self.stdout, self.stderr = (file.fileno() for file in self.files)
        self.names: list[str] = []
        self.pid = 0

    def begin(self, pid: int) -> None:
        """Hear which process it is."""
        self.pid = pid

    @contextmanager
    def open(self, deployment: Deployment) -> Iterator[Streams]:
        """Give them."""
        self.names.append(deployment.name)
        yield self
        for file in self.files:
            file.close()


@pytest.mark.usefixtures("worker_path")
async def test_lets_workers_print_where_they_are_told(tmp_path: Path) -> None:
    """What they log is there without stamps; the streams hear which process it is."""
    files = _Files(tmp_path)
    link, recorder = await _start(LocalExecutor(open_streams=files.open), "open_buggy")
    await recorder.wait_for(lambda frame: isinstance(frame, Broken))
    await recorder.wait_end()

    assert (files.names, files.pid) == (["echo"], link.pid)
    printed = (tmp_path / "stdout").read_text()
    assert printed.startswith("The engine could not be opened.\nTraceback")
    assert (tmp_path / "stderr").read_text() == ""


@pytest.mark.usefixtures("worker_path")
@pytest.mark.parametrize("is_at_terminal", [True, False])
async def test_gives_workers_the_terminal_where_it_is_at_one(
    standard_input: str, *, is_at_terminal: bool
) -> None:
    """They read what this process would; all others read nothing."""
    link, recorder = await _start(LocalExecutor(is_at_terminal=is_at_terminal))
    await recorder.wait_for(_is_ready)
    worker = psutil.Process(link.pid)
    read, variables = os.readlink(f"/proc/{link.pid}/fd/0"), worker.environ()  # noqa: PTH115
    link.send(Close())
    await link.wait()

    assert read == (standard_input if is_at_terminal else "/dev/null")
    assert (AT_TERMINAL in variables) == is_at_terminal


@pytest.mark.usefixtures("worker_path")
async def test_adds_variables_to_those_of_workers() -> None:
    """They go before what this process has."""
    link, recorder = await _start(LocalExecutor(added={"TS_ONE": "1", "HOME": "/elsewhere"}))
    await recorder.wait_for(_is_ready)
    variables = psutil.Process(link.pid).environ()
    link.send(Close())
    await link.wait()

    assert (variables["TS_ONE"], variables["HOME"]) == ("1", "/elsewhere")


@pytest.fixture
def standard_input() -> Iterator[str]:
    """Read standard input from a pipe; gives its name."""
    reading, writing = os.pipe()
    before = os.dup(0)
    os.dup2(reading, 0)
    yield str(Path("/proc/self/fd/0").readlink())
    os.dup2(before, 0)
    for descriptor in (reading, writing, before):
        os.close(descriptor)


async def test_raises_if_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is not there is an OSError, at once."""
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    executor = LocalExecutor()
    recorder = Recorder()
    with pytest.raises(OSError, match="No such file"):
        await executor.start(
            deploy("open_echo", threads=1), CPU, recorder.on_frames, recorder.on_end
        )
    assert executor._cores._reserved == {}


async def test_starts_no_process_for_a_config_that_cannot_be_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever cannot travel is refused before there is a process to leave behind."""

    def fail(*_: object, **__: object) -> Awaitable[None]:
        raise AssertionError("A process was started.")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    recorder = Recorder()
    deployment = deploy("open_echo", config={"source": object()})
    with pytest.raises(TypeError):
        await LocalExecutor().start(deployment, CPU, recorder.on_frames, recorder.on_end)


@pytest.mark.usefixtures("worker_path")
async def test_tells_workers_how_many_threads_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as this process was told; where a model's file says, as many as that."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    executor, told = LocalExecutor(), []
    for threads in (None, 1):
        recorder = Recorder()
        deployment = deploy("open_echo", threads=threads)
        link = await executor.start(deployment, CPU, recorder.on_frames, recorder.on_end)
        await recorder.wait_for(_is_ready)
        told.append(psutil.Process(link.pid).environ()["OMP_NUM_THREADS"])
        link.send(Close())
        await link.wait()

    assert told == ["7", "1"]


@pytest.mark.usefixtures("worker_path")
async def test_keeps_workers_on_their_cores() -> None:
    """A real worker is pinned to what it reserved, and gives it back at its end."""
    first, *_ = here = sorted(os.sched_getaffinity(0))
    executor = LocalExecutor()
    links = []
    for threads in (1, len(here) + 1):
        recorder = Recorder()
        deployment = deploy("open_echo", threads=threads)
        links.append(await executor.start(deployment, CPU, recorder.on_frames, recorder.on_end))
        await recorder.wait_for(_is_ready)
    assert [os.sched_getaffinity(link.pid or 0) for link in links] == [{first}, set(here)]
    assert list(executor._cores._reserved.values()) == [(first,)]
    for link in links:
        link.send(Close())
        await link.wait()
    assert executor._cores._reserved == {}


def _run_on_uvloop(main: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@pytest.mark.usefixtures("worker_path")
def test_serves_and_ends_on_uvloop() -> None:
    """The server's own event loop tells the same story, last words included."""

    async def main() -> None:
        link, recorder = await _start(LocalExecutor())
        await recorder.wait_for(_is_ready)
        link.send(Admit([(5, {"text": "a"}, {}, False)]))
        await recorder.wait_for(_is_events)
        link.kill()
        await link.wait()
        assert await recorder.wait_end() == "signal SIGKILL, by the scheduler"

    _run_on_uvloop(main)
    _run_on_uvloop(test_hears_what_a_process_said_before_its_end)


async def test_cuts_a_thread_off(gate: Gate, gate_name: str) -> None:
    """A thread cannot be killed: its link is cut at once, and it ends when its step does."""
    recorder = Recorder()
    deployment = deploy("open_gated", config={"gate": gate_name})
    link = await InlineExecutor().start(deployment, CPU, recorder.on_frames, recorder.on_end)
    await recorder.wait_for(_is_ready)
    link.send(Admit([(1, {"text": "a"}, {}, False)]))
    await gate.wait_entered()
    link.kill()
    link.kill()
    await link.wait()
    assert recorder.ends == ["cut off"]
    (thread,) = [t for t in threading.enumerate() if t.name.endswith("open_gated")]
    gate.let_go()
    await asyncio.to_thread(thread.join, PATIENCE_S)
    assert not thread.is_alive()
    assert not [frame for frame in recorder.frames if isinstance(frame, Events)]


async def test_cuts_off_a_thread_that_waits() -> None:
    """An idle thread ends as soon as its link is cut."""
    link, recorder = await _start(InlineExecutor())
    await recorder.wait_for(_is_ready)
    (thread,) = [t for t in threading.enumerate() if t.name.endswith("open_echo")]
    link.kill()
    await asyncio.to_thread(thread.join, PATIENCE_S)
    assert not thread.is_alive()


async def test_drops_what_a_thread_had_on_the_way_when_it_was_cut_off() -> None:
    """After the end there are no frames, even if they had been sent before it."""
    recorder = Recorder()
    link = ThreadLink(recorder.on_frames, recorder.on_end)
    link.deliver(Progress("loading", None))
    link.kill()
    await asyncio.sleep(0)
    assert (recorder.frames, recorder.ends) == ([], ["cut off"])
    with pytest.raises(Hangup):
        link.take(wait=False)


async def test_tells_the_end_of_a_thread_that_a_model_brings_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread ends on what would end a process, and its link says so."""
    traces: list[object] = []
    monkeypatch.setattr(threading, "excepthook", traces.append)

    def fail(_: object, __: int) -> None:
        raise RuntimeError("cannot forget")

    monkeypatch.setattr(BatchEngine, "cancel", fail)
    link, recorder = await _start(InlineExecutor())
    await recorder.wait_for(_is_ready)
    (thread,) = [t for t in threading.enumerate() if t.name.endswith("open_echo")]
    link.send(Cancel([1]))
    assert await recorder.wait_end() == "the thread ended"
    await link.wait()
    await asyncio.to_thread(thread.join, PATIENCE_S)
    assert len(traces) == 1


def test_survives_the_end_of_the_event_loop_before_the_thread(gate: Gate, gate_name: str) -> None:
    """A thread in the middle of its step outlives its loop without a trace."""

    async def main() -> None:
        recorder = Recorder()
        deployment = deploy("open_gated", config={"gate": gate_name})
        link = await InlineExecutor().start(deployment, CPU, recorder.on_frames, recorder.on_end)
        await recorder.wait_for(_is_ready)
        link.send(Admit([(1, {"text": "a"}, {}, False)]))
        await gate.wait_entered()
        link.send(Close())

    asyncio.run(main())
    (thread,) = [t for t in threading.enumerate() if t.name.endswith("open_gated")]
    gate.let_go()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
