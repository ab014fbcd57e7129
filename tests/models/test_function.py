"""Functions as engines."""

from __future__ import annotations

import sys
import types
from collections.abc import Generator, Iterator

import pytest

from torchloom.device import Device
from torchloom.engine import Chunk, Failure, Result, Work
from torchloom.errors import InvalidInput, InvalidModel, ModelLoadError, TaskFailed
from torchloom_models.function import FunctionEngine, open_function


def double(x: int) -> int:
    """Return a plain value."""
    return 2 * x


async def named(x: int) -> dict[str, int]:
    """Return outputs by name, from a coroutine."""
    return {"y": x + 1}


def count(to: int) -> Generator[int, None, dict[str, int]]:
    """Yield numbers, then return their sum."""
    for number in range(to):
        if number == 13:
            raise ArithmeticError("thirteen")
        yield number
    return {"sum": sum(range(to))}


@pytest.fixture
def module() -> Iterator[str]:
    """Give the name of a module that holds the functions above."""
    module = types.ModuleType("torchloom_test_functions")
    module.double, module.constant = double, 3  # type: ignore[attr-defined]  # made for the test
    sys.modules[module.__name__] = module
    yield module.__name__
    del sys.modules[module.__name__]


def open_path(path: str, *allowed: str) -> FunctionEngine:
    """Open a function by its path."""
    config = {"function": path, "functions": list(allowed)}
    return open_function(config, Device("cpu"), lambda *_: None)


def test_calls_each_task_by_its_keywords() -> None:
    """A batch of calls gives one result a task, and a plain value is the output `value`."""
    engine = FunctionEngine(double, max_tasks=8)
    for task_id in (1, 2):
        engine.admit(Work(task_id, {"x": task_id}))

    assert engine.step() == [Result(1, {"value": 2}), Result(2, {"value": 4})]
    assert engine.step() == []


def test_awaits_a_coroutine_and_names_outputs_by_keys() -> None:
    """What an async function returns as a mapping are its outputs."""
    engine = FunctionEngine(named, max_tasks=8)
    engine.admit(Work(1, {"x": 1}))

    assert engine.step() == [Result(1, {"y": 2})]


def test_streams_what_a_generator_yields() -> None:
    """Each step gives a value of each generator; the result has them all, and the return."""
    engine = FunctionEngine(count, max_tasks=8)
    engine.admit(Work(1, {"to": 2}))

    assert engine.step() == [Chunk(1, {"data": 0})]
    assert engine.step() == [Chunk(1, {"data": 1})]
    assert engine.step() == [Result(1, {"items": [0, 1], "sum": 1})]


def test_fails_the_call_that_raises_and_no_other() -> None:
    """An exception is its own call's failure."""
    engine = FunctionEngine(double, max_tasks=8)
    engine.admit(Work(1, {"x": None}))
    engine.admit(Work(2, {"x": 2}))

    failed, done = engine.step()

    assert isinstance(failed, Failure)
    assert isinstance(failed.error, TaskFailed)
    assert "TypeError" in failed.error.message
    assert done == Result(2, {"value": 4})


def test_fails_a_generator_that_raises_in_the_middle() -> None:
    """What was streamed before stays; the call ends with the failure."""
    engine = FunctionEngine(count, max_tasks=8)
    engine.admit(Work(1, {"to": 20}))
    events = [event for _ in range(14) for event in engine.step()]

    assert isinstance(events[-1], Failure)
    assert len(events) == 14


def test_refuses_arguments_that_do_not_fit() -> None:
    """A wrong or missing argument is refused before the call, with the signature."""
    engine = FunctionEngine(double, max_tasks=8)

    with pytest.raises(InvalidInput, match=r"double\(x"):
        engine.admit(Work(1, {"y": 1}))


def test_closes_a_generator_that_is_cancelled() -> None:
    """A cancelled stream gives nothing more, and its generator's cleanup runs."""
    engine = FunctionEngine(count, max_tasks=8)
    engine.admit(Work(1, {"to": 5}))
    engine.step()
    engine.cancel(1)
    engine.cancel(1)

    assert engine.step() == []


def test_opens_a_function_of_an_allowed_module(module: str) -> None:
    """The operator's list decides what may be imported."""
    engine = open_path(f"{module}:double", module)

    assert engine.room().max_tasks == 64


def test_refuses_a_module_that_is_not_allowed(module: str) -> None:
    """A name that only begins like an allowed one is not allowed."""
    with pytest.raises(InvalidModel, match="no allowed module"):
        open_path(f"{module}:double", module[:-1], "os")


@pytest.mark.parametrize("name", ["absent", "constant"])
def test_refuses_what_is_no_function(module: str, name: str) -> None:
    """A name that is not there, or cannot be called, stops the model from loading."""
    with pytest.raises(ModelLoadError, match=name):
        open_path(f"{module}:{name}", module)
