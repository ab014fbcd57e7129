"""What workers print."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from torchloom.deployment import Deployment
from torchloom_api.torchserve.telemetry.worker_output import StreamName, WorkerOutput


PATIENCE_S = 30.0

DEPLOYMENT = Deployment(name="noop", version=1, kind="handler", factory="a:b")


class Heard:
    """What has been heard, and whoever waits for more of it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, StreamName, str]] = []
        self._more = asyncio.Event()

    def __call__(self, deployment: Deployment, pid: int, stream: StreamName, line: str) -> None:
        """Hear a line."""
        self.lines.append((deployment.name, pid, stream, line))
        self._more.set()

    async def until(self, is_enough: Callable[[], bool]) -> None:
        """Wait until there is enough."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_enough():
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def heard() -> Heard:
    """Give what hears."""
    return Heard()


async def test_gives_lines_of_both_streams(heard: Heard) -> None:
    """With the process, and in UTF-8 or what comes near it."""
    output = WorkerOutput(heard)
    with output.open(DEPLOYMENT) as streams:
        streams.begin(77)
        os.write(streams.stdout, b"one\r\ntwo ")
        os.write(streams.stdout, "fünf".encode())
        os.write(streams.stderr, b"bad \xff\n")
    await heard.until(lambda: len(heard.lines) == 3)

    assert sorted(heard.lines) == [
        ("noop", 77, "stderr", "bad \ufffd"),
        ("noop", 77, "stdout", "one"),
        ("noop", 77, "stdout", "two fünf"),
    ]


async def test_gives_each_state_of_a_progress_bar(heard: Heard) -> None:
    """They end by a carriage return; one whose line feed is still to come ends one line."""
    output = WorkerOutput(heard)
    with output.open(DEPLOYMENT) as streams:
        os.write(streams.stderr, b"\r 0%\r 50%\r")
        await heard.until(lambda: len(heard.lines) == 2)
        os.write(streams.stderr, b"\ndone\r\nlast\r")
    await heard.until(lambda: len(heard.lines) == 5)

    assert [line for *_, line in heard.lines] == ["", " 0%", " 50%", "done", "last"]


async def test_keeps_reading_while_the_worker_lives(heard: Heard) -> None:
    """The worker has descriptors of its own."""
    output = WorkerOutput(heard)
    with output.open(DEPLOYMENT) as streams:
        own = os.dup(streams.stdout)
    os.write(own, b"later\n")
    await heard.until(lambda: bool(heard.lines))
    output.close()
    with pytest.raises(BrokenPipeError):
        os.write(own, b"too late\n")
    os.close(own)


async def test_leaves_out_what_is_printed_too_fast(heard: Heard) -> None:
    """The reader goes on reading, so that the worker does; what is lost is counted."""
    now = 0.0
    output = WorkerOutput(heard, now=lambda: now)
    chunk = b"x" * 63 + b"\n"
    with output.open(DEPLOYMENT) as streams:
        own = os.dup(streams.stdout)

    def flood() -> None:
        for _ in range(16 << 10):
            os.write(own, chunk * 16)

    await asyncio.to_thread(flood)  # 16 MiB
    now = 1000.0
    os.write(own, b"calm again\n")
    await heard.until(lambda: heard.lines[-1][3] == "calm again")
    os.close(own)
    output.close()
    told = [line for *_, line in heard.lines if "left out" in line]

    assert len(told) == 1
    assert len(heard.lines) < (9 << 20) / len(chunk)


async def test_cuts_what_has_no_end(heard: Heard) -> None:
    """A line that never ends fills no memory."""
    output = WorkerOutput(heard)
    with output.open(DEPLOYMENT) as streams:
        own = os.dup(streams.stdout)
    await asyncio.to_thread(lambda: [os.write(own, b"x" * 4096) for _ in range(64)])
    os.close(own)
    await heard.until(lambda: sum(len(line) for *_, line in heard.lines) == 64 * 4096)

    assert max(len(line) for *_, line in heard.lines) == 1 << 16


async def test_names_the_model(heard: Heard) -> None:
    """Of each worker its own."""
    output = WorkerOutput(heard)
    for name in ("a", "b"):
        with output.open(replace(DEPLOYMENT, name=name)) as streams:
            os.write(streams.stdout, b"line\n")
    await heard.until(lambda: len(heard.lines) == 2)

    assert {name for name, *_ in heard.lines} == {"a", "b"}
