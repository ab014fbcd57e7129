"""AsyncHandlerEngine: a handler whose `handle` is a coroutine, called for each request by itself.

What batches is the handler's own affair. Calls go on while others begin and end.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, cast

from torchloom.engine import Chunk, Event, Failure, Result, Room, Work
from torchloom.errors import HandlerFailed
from torchloom.sample import Sample
from torchloom_models.archive.answer import to_outputs
from torchloom_models.archive.context import Batch, Context
from torchloom_models.archive.engine import check_items
from torchloom_models.archive.entry import Entry
from torchloom_models.archive.failure import tell_raised, to_failure
from torchloom_models.archive.footprint import held_bytes
from torchloom_models.archive.metric import MetricsCache
from torchloom_models.archive.row import Row


#: How long a step waits for one of the calls; new ones are let in in between.
_SLICE_S: Final = 0.005


class AsyncHandlerEngine:
    """An Engine around a coroutine. Each call has a context of its own."""

    def __init__(
        self,
        entry: Entry,
        context: Context,
        *,
        max_tasks: int,
        device: str,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.device = device
        self.context = context
        self._entry = entry
        self._room = Room(max_tasks=max_tasks, is_continuous=True)
        self._loop = loop
        self._close = close
        self._calls: dict[int, asyncio.Task[object]] = {}
        self._contexts: dict[int, Context] = {}
        self._events: list[Event] = []

    def room(self) -> Room:
        """Say how much it can hold."""
        return self._room

    def admit(self, work: Work) -> None:
        """Begin a call. Raises InvalidInput for parameters that there are not."""
        row = Row.of(work)
        context = copy.copy(self.context)
        context.begin(
            Batch(
                ids=[row.request_id],
                headers=[row.headers],
                sequence_ids=[row.sequence_id],
                tell=lambda _, item: self._pass_on(row.task_id, item),
            )
        )
        self._contexts[row.task_id] = context
        self._calls[row.task_id] = self._loop.create_task(self._call(row, context))

    def step(self) -> Sequence[Event]:
        """Let the calls go on until one has something to give, or for a moment."""
        if self._calls:
            waiting = asyncio.wait(
                self._calls.values(), timeout=_SLICE_S, return_when=asyncio.FIRST_COMPLETED
            )
            self._loop.run_until_complete(waiting)
        for task_id, call in list(self._calls.items()):
            if call.done():
                self._events.append(self._settle(task_id, call))
        events, self._events = self._events, []
        return events

    def cancel(self, task_id: int) -> None:
        """Cancel a call: the coroutine gets asyncio's CancelledError where it waits."""
        call = self._calls.pop(task_id, None)
        self._contexts.pop(task_id, None)
        if call is not None:
            call.cancel()
            self._loop.run_until_complete(asyncio.wait([call], timeout=_SLICE_S))

    def memory_bytes(self) -> int:
        """Give what torch holds on a CUDA device; 0 elsewhere: the process's growth counts."""
        return held_bytes(self.device)

    def take_samples(self) -> Sequence[Sample]:
        """Give what the handler has measured since it was last asked."""
        metrics = self.context.metrics
        return metrics.log.take() if isinstance(metrics, MetricsCache) else ()

    def close(self) -> None:
        """Cancel what goes on, and give back what the archive holds."""
        for task_id in list(self._calls):
            self.cancel(task_id)
        self._loop.close()
        if self._close is not None:
            self._close()

    async def _call(self, row: Row, context: Context) -> object:
        called = cast("Coroutine[object, object, object]", self._entry([row.data], context))
        return check_items(await called, 1)[0]

    def _pass_on(self, task_id: int, item: object) -> None:
        context = self._contexts.get(task_id)
        if context is not None:
            outputs = to_outputs(item, context.request_processor[0])
            self._events.append(Chunk(task_id, {"data": outputs}))

    def _settle(self, task_id: int, call: asyncio.Task[object]) -> Event:
        del self._calls[task_id]
        context = self._contexts.pop(task_id)
        if call.cancelled():
            return Failure(task_id, HandlerFailed("Prediction failed", cause="it was cancelled"))
        error = call.exception()
        if error is not None:
            tell_raised(error)
            return Failure(task_id, to_failure(error))
        try:
            return Result(task_id, to_outputs(call.result(), context.request_processor[0]))
        except HandlerFailed as failure:
            tell_raised(failure)
            return Failure(task_id, failure)
