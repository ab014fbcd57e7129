"""Tiny engines that workers open by name: each shows one way in which models behave."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from torchloom.deployment import Deployment, Report
from torchloom.device import Device
from torchloom.engine import BatchEngine, Chunk, Event, Failure, Result, Room, Values, Work
from torchloom.errors import DeviceUnavailable, InvalidInput, ModelLoadError, TaskFailed


#: No test waits longer than this for something that must happen.
PATIENCE_S = 20.0

Config = Mapping[str, object]


class Gate:
    """Lets a test hold an engine in the middle of a step; only for engines in threads."""

    def __init__(self) -> None:
        self.batches: list[list[Values]] = []
        self._entered = threading.Semaphore(0)
        self._released = threading.Semaphore(0)

    def enter(self, batch: Sequence[Work]) -> None:
        """Report the step and wait until the test lets it go on (called by the engine)."""
        self.batches.append([work.inputs for work in batch])
        self._entered.release()
        assert self._released.acquire(timeout=PATIENCE_S)

    async def wait_entered(self) -> None:
        """Wait until the engine is in a step."""
        assert await asyncio.to_thread(self._entered.acquire, timeout=PATIENCE_S)

    def let_go(self, num_steps: int = 1) -> None:
        """Let this many steps go on."""
        self._released.release(num_steps)


GATES: dict[str, Gate] = {}


def deploy(factory: str, *, name: str = "echo", **options: object) -> Deployment:
    """Describe a model that one of the engines of this module serves."""
    path = f"{__name__}:{factory}"
    return Deployment(name=name, kind="test", factory=path, **options)  # type: ignore[arg-type]  # tests give any


def _echo(batch: Sequence[Work]) -> list[Values]:
    return [
        {**work.inputs, "params": dict(work.params), "batch": len(batch), "pid": os.getpid()}
        for work in batch
    ]


def _size(config: Config) -> int:
    size = config.get("max_tasks", 8)
    assert isinstance(size, int)
    return size


def open_echo(config: Config, device: Device, report: Report) -> BatchEngine:
    """Give the inputs back, with the size of the batch; refuse an empty text."""
    report("opening", 0.5)

    def validate(work: Work) -> None:
        if work.inputs.get("text") == "":
            raise InvalidInput("`text` is empty.")

    return BatchEngine(
        _echo, max_tasks=_size(config), device=str(device), validate=validate, notes=["echoes"]
    )


def open_on_cpu(config: Config, device: Device, report: Report) -> BatchEngine:
    """Give the inputs back, on a machine that has a CPU and nothing else."""
    if str(device) != "cpu":
        message = f"There is no device {str(device)!r} here."
        raise DeviceUnavailable(message)
    return open_echo(config, device, report)


def fetch(config: Config, report: Report) -> int:
    """Say how much there is to load, after a download that the config may let fail."""
    report("fetching", None)
    if config.get("is_missing"):
        raise ModelLoadError("There is no such model.")
    return 7


def open_gated(config: Config, _device: Device, _report: Report) -> BatchEngine:
    """Wait at the gate that the config names, in every step."""
    gate = GATES[str(config["gate"])]

    def forward(batch: Sequence[Work]) -> list[Values]:
        gate.enter(batch)
        return _echo(batch)

    return BatchEngine(forward, max_tasks=_size(config))


def open_poisonable(config: Config, _device: Device, _report: Report) -> BatchEngine:
    """Raise for a whole batch that holds the text `poison`."""

    def forward(batch: Sequence[Work]) -> list[Values]:
        if any(work.inputs.get("text") == "poison" for work in batch):
            raise ValueError("this is poison")
        return _echo(batch)

    return BatchEngine(forward, max_tasks=_size(config))


def open_killable(config: Config, _device: Device, report: Report) -> BatchEngine:
    """End the process in the middle of a step over the text `kill`; hang over `hang`."""
    report("opening", None)

    def forward(batch: Sequence[Work]) -> list[Values]:
        texts = [work.inputs.get("text") for work in batch]
        if "kill" in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in texts:
            threading.Event().wait()
        return _echo(batch)

    return BatchEngine(forward, max_tasks=_size(config))


class Adjustable(BatchEngine):
    """Gives back what it was told while it serves; takes a `speed` of ten at most."""

    def __init__(self) -> None:
        super().__init__(lambda batch: [self._answer() for _ in batch], max_tasks=8)
        self._told: dict[str, object] = {}

    def _answer(self) -> Values:
        return {"told": dict(self._told), "pid": os.getpid()}

    def apply_setting(self, key: str, value: object) -> None:
        """Take a setting."""
        if isinstance(value, int) and value > 10:
            raise InvalidInput("Too fast.")
        self._told[key] = value


def open_adjustable(_config: Config, _device: Device, _report: Report) -> Adjustable:
    """Take settings while it serves."""
    return Adjustable()


def open_holding(config: Config, device: Device, _report: Report) -> BatchEngine:
    """Say in a file who works on the text `hold`, and go on only when the test takes it away."""
    mark = Path(str(config["mark"]))

    def forward(batch: Sequence[Work]) -> list[Values]:
        if any(work.inputs.get("text") == "hold" for work in batch):
            mark.with_suffix(".new").write_text(str(os.getpid()))
            mark.with_suffix(".new").rename(mark)
            while mark.exists():
                threading.Event().wait(0.01)
        return _echo(batch)

    return BatchEngine(forward, max_tasks=_size(config), device=str(device))


def open_miscounting(config: Config, _device: Device, _report: Report) -> BatchEngine:
    """Give one result too few."""
    return BatchEngine(lambda batch: _echo(batch)[1:], max_tasks=_size(config))


def open_careless(config: Config, _device: Device, _report: Report) -> BatchEngine:
    """Give what cannot travel for the text `bad`."""

    def forward(batch: Sequence[Work]) -> list[Values]:
        return [{"value": object()} if w.inputs["text"] == "bad" else w.inputs for w in batch]

    return BatchEngine(forward, max_tasks=_size(config))


def open_broken(_config: Config, _device: Device, _report: Report) -> BatchEngine:
    """Never open."""
    raise ModelLoadError("The weights are missing.")


def open_buggy(_config: Config, _device: Device, _report: Report) -> BatchEngine:
    """Raise something of its own instead of opening."""
    raise LookupError("no such layer")


def open_crashing(_config: Config, _device: Device, _report: Report) -> BatchEngine:
    """End the process instead of opening."""
    os._exit(7)


def open_stuck(_config: Config, _device: Device, report: Report) -> BatchEngine:
    """Report, and never come back."""
    report("stuck", None)
    threading.Event().wait()
    raise AssertionError


def open_once(config: Config, device: Device, report: Report) -> BatchEngine:
    """Open the first time only: the file that the config names says whether it has been opened."""
    report("opening", None)
    mark = Path(str(config["mark"]))
    if mark.exists():
        raise ModelLoadError("The disk has gone.")
    mark.touch()
    return open_killable(config, device, report)


class Streamer:
    """A continuous engine: each step gives every task its next word as a chunk.

    A task may say after how many words the process dies (`die_after`) or the step raises
    (`raise_after`).
    """

    device = "cpu"

    def __init__(self, config: Config) -> None:
        self._room = Room(max_tasks=_size(config), is_continuous=True)
        gate = config.get("gate")
        self._gate = GATES[str(gate)] if gate else None
        self._held: dict[int, tuple[Work, Iterator[str]]] = {}
        self._num_words: dict[int, int] = {}

    def room(self) -> Room:
        """Say how much it holds."""
        return self._room

    def admit(self, work: Work) -> None:
        """Take a text in."""
        self._held[work.task_id] = (work, iter(str(work.inputs["text"]).split()))
        self._num_words[work.task_id] = 0

    def step(self) -> Iterable[Event]:
        """Give each task's next word."""
        if self._gate is not None:
            self._gate.enter([work for work, _ in self._held.values()])
        for task_id, (work, words) in list(self._held.items()):
            word = next(words, None)
            if word is None:
                count = self._num_words[task_id]
                yield Result(task_id, {"text": work.inputs["text"]}, {"completion_tokens": count})
                self.cancel(task_id)
                continue
            self._num_words[task_id] += 1
            yield Chunk(task_id, {"text": word})
            if self._num_words[task_id] == work.inputs.get("raise_after"):
                raise RuntimeError("lost the thread")
            if self._num_words[task_id] == work.inputs.get("die_after"):
                threading.Event().wait()

    def cancel(self, task_id: int) -> None:
        """Forget a text."""
        self._held.pop(task_id, None)

    def close(self) -> None:
        """Hold nothing."""


def open_streamer(config: Config, _device: Device, _report: Report) -> Streamer:
    """Open a Streamer."""
    return Streamer(config)


class Chatter(Streamer):
    """Says everything in one step, as a generator of many chunks; `fail` fails alone."""

    def step(self) -> Iterable[Event]:
        """Give all words of all tasks."""
        for task_id, (work, words) in list(self._held.items()):
            for word in words:
                yield Chunk(task_id, {"text": word})
            self.cancel(task_id)
            if work.inputs["text"] == "fail":
                yield Failure(task_id, TaskFailed("It would not."))
            else:
                yield Result(task_id, {"text": work.inputs["text"]})


def open_chatter(config: Config, _device: Device, _report: Report) -> Chatter:
    """Open a Chatter."""
    return Chatter(config)
