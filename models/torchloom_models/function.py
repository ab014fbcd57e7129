"""The function kind: a Python function as an engine; a generator streams what it yields.

Inputs are the keyword arguments. Knows no framework: what a function imports is its own affair.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Never

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import Chunk, Event, Failure, Result, Room, Values, Work
from torchloom.errors import InvalidInput, InvalidModel, ModelLoadError, TaskFailed


#: How many calls a function engine holds at once, unless the model file says.
_MAX_TASKS = 64


def find_function(path: str, allowed: Iterable[str]) -> Callable[..., object]:
    """Import `package.module:name`, where the module, or a package above it, is allowed.

    Raises InvalidModel for one that is not, ModelLoadError for one that cannot be imported.
    """
    module_name, _, name = path.partition(":")
    allowed = tuple(allowed)
    if not any(module_name == each or module_name.startswith(f"{each}.") for each in allowed):
        names = ", ".join(sorted(allowed)) or "none"
        message = (
            f"The function {path!r} is in no allowed module (allowed: {names}). The operator "
            "allows modules with the setting `functions`."
        )
        raise InvalidModel(message)
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        message = f"The function {path!r} cannot be imported: {error}."
        raise ModelLoadError(message) from error
    if not callable(function):
        message = f"{path!r} is a {type(function).__name__}, which cannot be called."
        raise ModelLoadError(message)
    return function  # type: ignore[no-any-return]  # just seen to be callable


def open_function(
    config: Mapping[str, object],
    device: Device,  # noqa: ARG001 - a function runs where Python runs
    report: Report,
) -> FunctionEngine:
    """Import the function of a model file. Raises InvalidModel or ModelLoadError."""
    path = str(config["function"])
    report(f"importing {path}", None)
    allowed = config.get("functions", ())
    assert isinstance(allowed, list | tuple)
    max_tasks = config.get("max_size", _MAX_TASKS)
    assert isinstance(max_tasks, int)
    return FunctionEngine(find_function(path, allowed), max_tasks=max_tasks)


class FunctionEngine:
    """An Engine around a function. Calls run one by one; generators take turns, value by value.

    A mapping that the function returns names its outputs; anything else is the output `value`. What
    a generator yields is streamed, and is the output `items`; what it returns, if anything, is
    added.
    """

    device = "cpu"

    def __init__(self, function: Callable[..., object], *, max_tasks: int) -> None:
        self._function = function
        self._signature = inspect.signature(function)
        self._room = Room(max_tasks=max_tasks)
        self._calls: dict[int, Work] = {}
        self._streams: dict[int, _Stream] = {}

    def room(self) -> Room:
        """Say how much it can hold."""
        return self._room

    def admit(self, work: Work) -> None:
        """Take a call in. Raises InvalidInput where the arguments do not fit the function."""
        try:
            self._signature.bind(**{**work.inputs, **work.params})
        except TypeError as error:
            message = f"The inputs do not fit {self._function.__name__}{self._signature}: {error}."
            raise InvalidInput(message) from error
        self._calls[work.task_id] = work

    def step(self) -> list[Event]:
        """Make every call that was admitted, and take one value from each generator."""
        calls, self._calls = self._calls, {}
        events = [event for work in calls.values() for event in self._call(work)]
        for task_id, stream in list(self._streams.items()):
            events.append(self._advance(task_id, stream))
        return events

    def cancel(self, task_id: int) -> None:
        """Forget a call; a generator in the middle of its work is closed."""
        self._calls.pop(task_id, None)
        stream = self._streams.pop(task_id, None)
        if stream is not None:
            stream.generator.close()

    def close(self) -> None:
        """Close what is still open."""
        for task_id in list(self._streams):
            self.cancel(task_id)

    def _call(self, work: Work) -> Iterable[Event]:
        try:
            returned = self._function(**{**work.inputs, **work.params})
            if inspect.iscoroutine(returned):
                returned = asyncio.run(returned)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything; it fails alone
            yield _failure(work.task_id, error)
            return
        if inspect.isgenerator(returned):
            self._streams[work.task_id] = _Stream(returned)
        else:
            yield Result(work.task_id, to_outputs(returned))

    def _advance(self, task_id: int, stream: _Stream) -> Event:
        try:
            value = next(stream.generator)
        except StopIteration as stop:
            del self._streams[task_id]
            added = {} if stop.value is None else to_outputs(stop.value)
            return Result(task_id, {"items": stream.items, **added})
        except Exception as error:  # noqa: BLE001 - the same for a user's generator
            del self._streams[task_id]
            return _failure(task_id, error)
        stream.items.append(value)
        return Chunk(task_id, {"data": value})


class _Stream:
    """A generator in the middle of its work, and what it has yielded."""

    def __init__(self, generator: Generator[object, Never, object]) -> None:
        self.generator = generator
        self.items: list[object] = []


def to_outputs(returned: object) -> Values:
    """Name what a function returned."""
    if isinstance(returned, Mapping) and all(isinstance(key, str) for key in returned):
        return dict(returned)
    return {"value": returned}


def _failure(task_id: int, error: Exception) -> Failure:
    if isinstance(error, InvalidInput):
        return Failure(task_id, error)
    return Failure(task_id, TaskFailed(f"{type(error).__name__}: {error}"))
