"""Small real engines for the tests of the API, opened by name."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from torchloom.code_status import CodeStatus
from torchloom.device import Device
from torchloom.engine import BatchEngine, Chunk, Engine, Event, Result, Room, Values, Work
from torchloom.errors import InvalidInput, ModelLoadError, TaskFailed


#: The smallest PNG: one pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


class Endless:
    """Holds tasks until they are cancelled; each says one chunk a step."""

    #: What all engines of the process hold: what is cancelled before it is held never shows here.
    held: ClassVar[list[int]] = []

    device = "cpu"

    def __init__(self) -> None:
        self._tasks: list[int] = []

    def room(self) -> Room:
        """Say how much it can hold."""
        return Room(max_tasks=4096, is_continuous=True)

    def admit(self, work: Work) -> None:
        """Take a task in."""
        self._tasks.append(work.task_id)
        Endless.held.append(work.task_id)

    def step(self) -> Iterable[Event]:
        """Say one word for each task."""
        time.sleep(0.005)  # a forward pass takes its time
        return [Chunk(task, {"text": "tick "}) for task in self._tasks]

    def cancel(self, task_id: int) -> None:
        """Forget a task."""
        if task_id in self._tasks:
            self._tasks.remove(task_id)
            Endless.held.remove(task_id)

    def close(self) -> None:
        """Hold nothing."""
        for task_id in self._tasks:
            Endless.held.remove(task_id)


class Streamer:
    """Gives `count` chunks, one a step, then the whole text."""

    device = "cpu"

    def __init__(self) -> None:
        self._tasks: dict[int, list[str]] = {}
        self._left: dict[int, int] = {}

    def room(self) -> Room:
        """Say how much it can hold."""
        return Room(max_tasks=256, is_continuous=True)

    def admit(self, work: Work) -> None:
        """Take a task in."""
        self._tasks[work.task_id] = []
        self._left[work.task_id] = int(str(work.inputs.get("count", 3)))

    def step(self) -> Iterable[Event]:
        """Say one word for each task."""
        for task in list(self._tasks):
            said = self._tasks[task]
            if self._left[task] == 0:
                self.cancel(task)
                yield Result(task, {"text": "".join(said)}, {"completion_tokens": len(said)})
                continue
            self._left[task] -= 1
            said.append(f"word{len(said)} ")
            yield Chunk(task, {"text": said[-1]})

    def cancel(self, task_id: int) -> None:
        """Forget a task."""
        self._tasks.pop(task_id, None)
        self._left.pop(task_id, None)

    def close(self) -> None:
        """Hold nothing."""


def _answer(work: Work) -> Values:
    match work.inputs.get("want"):
        case "array":
            return {"value": np.arange(6, dtype=np.float32).reshape(2, 3)}
        case "bytes":
            return {"value": b"\x00\xff"}
        case "png":
            return {"value": PNG}
        case "nan":
            return {"value": np.array([np.nan, 1.0])}
        case "object":
            return {"value": object()}
        case "fail":
            raise TaskFailed("the model broke on this input")
    return {"value": work.inputs.get("value"), "params": dict(work.params)}


def _validate(work: Work) -> None:
    if work.inputs.get("want") == "refuse":
        raise InvalidInput("this engine refuses it")


def _forward(batch: Sequence[Work]) -> list[Values]:
    return [_answer(work) for work in batch]


def open_echo(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Give `value` back, or what `want` asks for."""
    return BatchEngine(_forward, max_tasks=64, validate=_validate)


def open_large(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Give `value` back, and say that it takes a GiB."""
    return BatchEngine(_forward, max_tasks=64, measure=lambda: 1 << 30)


def open_endless(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Never come to an end."""
    return Endless()


def open_streamer(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Stream words."""
    return Streamer()


def open_broken(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Do not load."""
    raise ModelLoadError("the weights are missing")


class Compiling:
    """How the engine of `open_compiling` stands; a test moves it on."""

    status = CodeStatus(part="all", state="none")


def open_compiling(_config: Mapping[str, object], _device: Device, _report: object) -> BatchEngine:
    """Give the inputs back, and tell what Compiling says of the code."""
    return BatchEngine(
        lambda batch: [work.inputs for work in batch],
        max_tasks=8,
        code=lambda: [Compiling.status],
    )


def _handle(work: Work) -> Values:
    """Answer as handlers of archives do: bytes, and what belongs to them."""
    body = work.inputs["body"]
    assert isinstance(body, dict)
    if "inputs" not in body:
        said: object = {"got": body, "is_explain": work.params.get("is_explain", False)}
    elif body["inputs"][0]["name"] == "break":
        said = {"outputs": "none"}
    else:
        said = {"outputs": [{**body["inputs"][0], "name": "y"}], "id": body.get("id")}
    return {
        "body": json.dumps(said).encode(),
        "content_type": "application/json",
        "status": 203,
        "reason": "",
        "headers": {"X-Made-By": "handler"},
        "value": said,
    }


def open_handler(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Say the request's body back."""
    return BatchEngine(lambda batch: [_handle(work) for work in batch], max_tasks=8)
