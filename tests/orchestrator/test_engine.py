"""BatchEngine: a function over a batch as an engine."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from torchloom.engine import BatchEngine, Result, Room, Values, Work
from torchloom.errors import BatchContractError, InvalidInput


def _upper(batch: Sequence[Work]) -> list[Values]:
    return [{"text": str(work.inputs["text"]).upper()} for work in batch]


def test_answers_all_that_was_admitted_in_one_step_and_in_order() -> None:
    """One step finishes the whole batch, one result a task."""
    engine = BatchEngine(_upper, max_tasks=8)
    engine.admit(Work(7, {"text": "a"}))
    engine.admit(Work(3, {"text": "b"}))
    assert list(engine.step()) == [Result(7, {"text": "A"}), Result(3, {"text": "B"})]
    assert list(engine.step()) == []
    assert engine.room() == Room(max_tasks=8, is_continuous=False)
    assert engine.device == "cpu"


def test_leaves_out_what_was_cancelled_before_the_step() -> None:
    """A cancelled task is not worked on; an unknown one is ignored."""
    engine = BatchEngine(_upper, max_tasks=8)
    engine.admit(Work(1, {"text": "a"}))
    engine.cancel(1)
    engine.cancel(99)
    assert list(engine.step()) == []


def test_refuses_another_number_of_results() -> None:
    """The batch contract is checked in one place: as many outputs as inputs."""
    engine = BatchEngine(lambda _: [], max_tasks=8)
    engine.admit(Work(1, {}))
    with pytest.raises(BatchContractError, match="batch of 1 came back with 0"):
        engine.step()


def test_refuses_an_input_before_it_joins_the_batch() -> None:
    """What does not validate is not admitted."""

    def validate(work: Work) -> None:
        if not work.inputs:
            raise InvalidInput("Nothing to do.")

    engine = BatchEngine(_upper, max_tasks=8, validate=validate)
    with pytest.raises(InvalidInput):
        engine.admit(Work(1, {}))
    engine.admit(Work(2, {"text": "x"}))
    assert list(engine.step()) == [Result(2, {"text": "X"})]


def test_gives_back_what_its_function_holds() -> None:
    """Closing reaches the function's own resources, where it has any."""
    closed: list[bool] = []
    BatchEngine(_upper, max_tasks=1, close=lambda: closed.append(True)).close()
    BatchEngine(_upper, max_tasks=1).close()
    assert closed == [True]
