"""How long calls of a handler take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import cast

import pytest

from torchloom.sample import Sample
from torchloom_models.archive.context import Context
from torchloom_models.archive.metric import MetricsCache
from torchloom_models.archive.prediction_time import timed


@pytest.fixture
def context() -> Context:
    """Give what a handler is told, with a batch of two."""
    context = Context("net", "", {}, 2, None, "0.12.0")
    assert isinstance(context.metrics, MetricsCache)
    context.metrics.request_ids = {0: "r0", 1: "r1"}
    return context


def ticking(*times: float) -> Callable[[], float]:
    """Give a clock that shows these times."""
    return iter(times).__next__


def taken(context: Context) -> list[Sample]:
    """Give what was measured."""
    assert isinstance(context.metrics, MetricsCache)
    return list(context.metrics.log.take())


def test_measures_a_function(context: Context) -> None:
    """In milliseconds with two places, for all requests of the batch."""
    entry = timed(lambda rows, _: rows, now=ticking(1.0, 1.0123456))

    assert entry([1, 2], context) == [1, 2]
    assert taken(context) == [
        Sample(
            name="PredictionTime",
            kind="gauge",
            unit="Milliseconds",
            labels={"ModelName": "net", "Level": "Model"},
            value=12.35,
            request_ids="r0,r1",
        )
    ]


def test_measures_a_coroutine(context: Context) -> None:
    """From its call to its end."""

    async def handle(rows: object, context: Context) -> object:  # noqa: ARG001 - an entry's face
        await asyncio.sleep(0)
        return rows

    given = timed(handle, now=ticking(1.0, 3.0))([1], context)
    assert taken(context) == []
    assert asyncio.run(cast("Coroutine[object, object, object]", given)) == [1]
    assert [each.value for each in taken(context)] == [2000.0]


def test_measures_no_call_that_raises(context: Context) -> None:
    """As in TorchServe."""

    def handle(rows: object, context: Context) -> object:  # noqa: ARG001 - an entry's face
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        timed(handle, now=ticking(1.0, 2.0))([1], context)
    assert taken(context) == []


def test_lets_handlers_have_metrics_of_their_own(context: Context) -> None:
    """What is none of ours is left alone."""
    context.metrics = object()

    assert timed(lambda rows, _: rows)([1], context) == [1]
