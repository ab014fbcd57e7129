"""PredictionTime: how long each call of a handler takes, as a metric of the handler's."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Final

from torchloom_models.archive.context import Context
from torchloom_models.archive.entry import Entry
from torchloom_models.archive.metric import MetricsCache


#: The name that TorchServe gives it.
NAME: Final = "PredictionTime"


def timed(entry: Entry, *, now: Callable[[], float] = time.perf_counter) -> Entry:
    """Measure an entry, be it a function or a coroutine. A call that raises is not measured."""

    def call(rows: object, context: Context) -> object:
        began = now()
        given = entry(rows, context)
        if inspect.iscoroutine(given):
            return finish(given, context, began)
        _add(context, now() - began)
        return given

    async def finish(given: Awaitable[object], context: Context, began: float) -> object:
        item = await given
        _add(context, now() - began)
        return item

    return call


def _add(context: Context, seconds: float) -> None:
    if isinstance(context.metrics, MetricsCache):
        context.metrics.add_time(NAME, round(seconds * 1000, 2))
