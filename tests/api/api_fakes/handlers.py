"""A handler's engine for the tests of TorchServe's API: it keeps the contract, and runs no archive.

What it is to do stands in the header `do`, or in the field of that name where there are no headers:
`status 418`, `raise`, `stream 3`, …. Behind `at NAME`, one model of several does it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.engine import Chunk, Engine, Event, Failure, Result, Room, Work
from torchloom.errors import HandlerFailed, ModelLoadError, TaskFailed
from torchloom_api.reader import Reader


#: What an answer of the engine holds where nothing else is asked for.
PLAIN = {"content_type": None, "status": 200, "reason": "", "headers": {}, "value": None}

#: Lets go of the engines that hang, and of those that load slowly.
release = threading.Event()

#: Is set when an engine that loads slowly has begun to, and by one whose answer has no end.
begun = threading.Event()
#: Is set when an engine has taken a task in.
admitted = threading.Event()

#: Names of archives that do not load, for as long as they stand here.
failing: set[str] = set()

#: Is set when an engine has been told to forget a task.
cancelled = threading.Event()


#: How it can be told to fail.
FAILURES: Mapping[str, Callable[[str], TaskFailed]] = {
    "raise": lambda _: HandlerFailed("Prediction failed", cause="no luck"),
    "memory": lambda _: HandlerFailed("Out of resources", status=507),
    "own": lambda status: HandlerFailed("I am short and stout", status=int(status)),
    "plain-failure": lambda _: TaskFailed("something of ours"),
}

#: What it can be told to answer.
OUTPUTS: Mapping[str, Callable[[str], dict[str, object]]] = {
    "status": lambda status: {"status": int(status), "body": b"teapot"},
    "phrase": lambda phrase: {"reason": phrase, "body": b"said"},
    "split": lambda _: {"reason": "fine\r\nEvil: yes\r\n\r\nHTTP/1.1 200 ", "body": b"said"},
    "body": lambda size: {"body": b"x" * int(size)},
    "headers": lambda _: {
        "headers": {"X-Own": "yes", "x-bad": "a\r\nb: c", "content-length": "3"},
        "content_type": "text/plain",
        "body": b"hello",
    },
}


class HandlerReader(Reader):
    """Reads documents as the real one does, and puts engines of tests in place: no archive runs.

    Of a language model that is called `endless`, one whose answers have no end.
    """

    def read_model(self, text: str | bytes, file: Path | None) -> Deployment:
        """Check a model file."""
        deployment = super().read_model(text, file)
        factory = "api_fakes.handlers:open_handler"
        if deployment.kind == "llm":
            verb = "endless" if deployment.name == "endless" else "writer"
            factory = f"api_fakes.text_engines:open_{verb}"
        return replace(deployment, factory=factory, is_inline=True)


class FakeHandler:
    """Answers by what it was given; see `_do` for what it can be told."""

    device = "cpu"

    def __init__(self, config: Mapping[str, object]) -> None:
        self._config = config
        self._works: dict[int, Work] = {}
        self._left: dict[int, int] = {}

    def room(self) -> Room:
        """Hold one task at a time, as handlers without batches do."""
        size = self._config.get("max_size", 1)
        assert isinstance(size, int)
        return Room(max_tasks=size)

    def admit(self, work: Work) -> None:
        """Take a row in."""
        self._works[work.task_id] = work
        admitted.set()

    def step(self) -> Iterable[Event]:
        """Do what is asked, for all rows."""
        events: list[Event] = []
        for task_id, work in list(self._works.items()):
            events += self._do(task_id, work)
        return events

    def cancel(self, task_id: int) -> None:
        """Forget a row."""
        if self._works.pop(task_id, None) is not None:
            cancelled.set()

    def close(self) -> None:
        """Hold nothing."""

    def _do(self, task_id: int, work: Work) -> Iterable[Event]:
        headers = work.params.get("headers", {})
        assert isinstance(headers, Mapping)
        verb, _, rest = _deed(headers, work).partition(" ")
        if verb == "at":
            name, _, order = rest.partition(" ")
            verb, _, rest = order.partition(" ") if name == self._config["name"] else ("", "", "")
        if work.params.get("is_describe"):
            return self._end(task_id, {**PLAIN, **self._outputs(work, verb, rest)})
        if verb in ("stream", "break"):
            return self._stream(task_id, int(rest), breaks=verb == "break")
        if verb == "endless":
            begun.set()
            time.sleep(0.005)  # a forward pass takes its time
            return [Chunk(task_id, {"data": {**PLAIN, "body": b"tick " * int(rest or 1)}})]
        if verb in FAILURES:
            return self._fail(task_id, FAILURES[verb](rest))
        if verb == "forget":
            time.sleep(0.005)
            return []
        if verb == "hang":
            release.wait(30)
        return self._end(task_id, {**PLAIN, **self._outputs(work, verb, rest)})

    def _outputs(self, work: Work, verb: str, rest: str) -> Mapping[str, object]:
        if verb in OUTPUTS:
            return OUTPUTS[verb](rest)
        if work.params.get("is_describe"):
            return {"body": self._description()}
        body = work.inputs.get("body")
        if "tensors" in str(self._config["source"]) and isinstance(body, Mapping):
            return {"body": _double(body)}
        return {"body": self._seen(work)}

    def _stream(self, task_id: int, count: int, *, breaks: bool) -> Iterable[Event]:
        left = self._left.setdefault(task_id, count)
        if left:
            self._left[task_id] -= 1
            own = {"headers": {"x-own": "yes"}} if left == count else {}
            body = f"part {count - left};".encode()
            return [Chunk(task_id, {"data": {**PLAIN, **own, "body": body}})]
        if breaks:
            return self._fail(task_id, HandlerFailed("Prediction failed"))
        return self._end(task_id, {**PLAIN, "body": b"last"})

    def _seen(self, work: Work) -> bytes:
        fields = work.params.get("fields") or work.inputs
        assert isinstance(fields, Mapping)
        inputs = {name: _show(value) for name, value in fields.items()}
        return json.dumps(
            {
                "inputs": inputs,
                "params": {k: v for k, v in work.params.items() if k not in _UNSHOWN},
                "model": [self._config["name"], self._config["model_version"]],
                "config": {
                    k: self._config[k] for k in ("handler", "envelope") if k in self._config
                },
            }
        ).encode()

    def _description(self) -> bytes:
        return b'{"knows": ["cats"]}' if "knowing" in str(self._config["source"]) else b"null"

    def _end(self, task_id: int, outputs: Mapping[str, object]) -> Iterable[Event]:
        del self._works[task_id]
        return [Result(task_id, dict(outputs))]

    def _fail(self, task_id: int, error: TaskFailed) -> Iterable[Event]:
        del self._works[task_id]
        return [Failure(task_id, error)]


#: What differs from one request to the next, and what is shown as inputs.
_UNSHOWN = ("request_id", "fields")


def _double(body: Mapping[str, object]) -> bytes:
    """Answer a document of the protocol by the first tensor, doubled."""
    (first, *_) = msgspec.convert(body["inputs"], list[dict[str, object]])
    data = [2 * each for each in msgspec.convert(first["data"], list[float])]
    output = {"name": "twice", "datatype": first["datatype"], "shape": first["shape"], "data": data}
    return json.dumps({"outputs": [output]}).encode()


def _deed(headers: Mapping[str, object], work: Work) -> str:
    field = work.inputs.get("do")
    if isinstance(field, bytes | bytearray | memoryview):
        return bytes(field).decode()
    return str(headers.get("do", ""))


def _show(value: object) -> object:
    """Tell bytes from what has been read."""
    if isinstance(value, bytes | bytearray | memoryview):
        return ["bytes", bytes(value).decode()]
    return ["value", value]


def open_handler(config: Mapping[str, object], device: Device, report: object) -> Engine:  # noqa: ARG001 - the factory's face
    """Open it; archives whose name says so do not load, or only when they are let."""
    source = Path(str(config["source"])).name
    if "broken" in source or source in failing:
        raise ModelLoadError("The handler raised as it was loaded: no luck")
    if "greedy" in source:
        error = ModelLoadError("The handler raised as it was loaded: MemoryError")
        error.status = 507  # type: ignore[misc]  # as archives do
        raise error
    if "slow" in source:
        begun.set()
        release.wait(30)
        if source in failing:
            raise ModelLoadError("The handler raised after a while: no luck")
    return FakeHandler(config)
