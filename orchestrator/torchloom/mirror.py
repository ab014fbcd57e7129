"""Mirror: gives shadow versions copies of calls, throws their answers away, and counts both sides.

What a copy does, how long it takes and how it ends reaches nobody but the counters. Knows no pool
and no table of versions: it is told who is the shadow, and a Caller does what copies ask for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Literal

from msgspec.structs import replace

from torchloom.engine import Values
from torchloom.errors import (
    Cancelled,
    DeadlineExceeded,
    NotServing,
    PartFailed,
    QueueFull,
    TorchLoomError,
)
from torchloom.graph import ModelCall, WorkflowCall
from torchloom.node_run import Caller
from torchloom.run import Run
from torchloom.run_options import CallOptions
from torchloom.stats import Stats
from torchloom.task import COPY_PRIORITY
from torchloom.timings import Meter
from torchloom.traffic import Pair


_log = logging.getLogger(__name__)

#: So many copies of calls of one name may be in hand; what comes then is answered without one.
MAX_COPIES = 100

#: Whose share of a queue copies take: nobody's who waits.
_TENANT = "shadow"

Noun = Literal["task", "run"]
Role = Literal["served", "shadow"]
State = Literal["done", "failed", "cancelled", "expired", "dropped"]

#: Makes a copy of a call, and waits for its end.
Copied = Callable[[], Awaitable[Values]]


class Mirror:
    """Makes copies. One ends early where what it is a copy of is given up.

    A copy has no listener, goes behind whatever somebody waits for, waits for no place in a queue,
    and is itself not copied.
    """

    def __init__(self, caller: Caller, stats: Stats, *, now: Callable[[], float]) -> None:
        self._caller = caller
        self._stats = stats
        self._now = now
        self._at_work: set[asyncio.Task[State] | asyncio.Task[None]] = set()
        self._is_over = False
        self._counts: Counter[tuple[str, str]] = Counter()

    def beside_task(
        self, pair: Pair, inputs: Values, params: Values, options: CallOptions
    ) -> AbstractContextManager[None]:
        """Give what a call of a model is to be made within, so that its shadow gets a copy."""
        if self._is_over:
            return nullcontext()
        try:
            own = _own(inputs), _own(params)
        except RecursionError:  # in more containers than can be copied
            self._drop("task", pair)
            return nullcontext()
        copied = partial(
            self._caller.call_model,
            ModelCall(pair.name, pair.shadow),
            *own,
            sink=None,
            options=_to_copied(options),
            meter=Meter(),
        )
        return self._beside("task", pair, copied)

    def copy_run(self, pair: Pair | None, run: Run, inputs: Values) -> None:
        """Give the shadow a copy of a run that has begun."""
        if pair is None or self._is_over:
            return
        try:
            own = _own(inputs)
        except RecursionError:
            self._drop("run", pair)
            return
        copied = partial(
            self._caller.call_workflow,
            WorkflowCall(pair.name, pair.shadow),
            own,
            options=_to_copied(run.options.to_call_options(self._now())),
            meter=Meter(),
        )
        work = asyncio.get_running_loop().create_task(self._accompany(pair, run, copied))
        self._at_work.add(work)
        work.add_done_callback(self._at_work.discard)

    async def stop(self) -> None:
        """Give up every copy, and make none: a server that ends finishes what is waited for."""
        self._is_over = True
        for each in self._at_work:
            each.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    async def _accompany(self, pair: Pair, run: Run, copied: Copied) -> None:
        with suppress(TorchLoomError), self._beside("run", pair, copied):
            await run.result()

    @contextmanager
    def _beside(self, noun: Noun, pair: Pair, copied: Copied) -> Iterator[None]:
        began = self._now()
        copy = self._begin(noun, pair, copied)
        state: State = "failed"
        try:
            yield
            state = "done"
        except (asyncio.CancelledError, Cancelled):
            state = "cancelled"
            if copy is not None:
                copy.cancel()
            raise
        except TorchLoomError as error:
            state = _state_of(error)
            raise
        finally:
            self._note(noun, pair, "served", state, began)

    def _begin(self, noun: Noun, pair: Pair, copied: Copied) -> asyncio.Task[State] | None:
        """Begin a copy, unless there are as many as there may be."""
        if self._counts[noun, pair.name] >= MAX_COPIES:
            self._drop(noun, pair)
            return None
        began = self._now()

        def end(copy: asyncio.Task[State]) -> None:
            self._at_work.discard(copy)
            self._counts[noun, pair.name] -= 1
            self._note(noun, pair, "shadow", _end_of(pair, copy), began)

        self._counts[noun, pair.name] += 1
        copy = asyncio.get_running_loop().create_task(_copy(pair, copied))
        self._at_work.add(copy)
        copy.add_done_callback(end)
        return copy

    def _drop(self, noun: Noun, pair: Pair) -> None:
        self._note(noun, pair, "shadow", "dropped", self._now())

    def _note(self, noun: Noun, pair: Pair, role: Role, state: State, began: float) -> None:
        version = pair.served if role == "served" else pair.shadow
        labels = (pair.name, str(version), role)
        self._stats.counter(f"shadow_{noun}s", *labels, state).add()
        if state == "done":
            seconds = self._stats.histogram(f"shadow_{noun}_seconds", *labels)
            seconds.observe(self._now() - began)


async def _copy(pair: Pair, copied: Copied) -> State:
    try:
        await copied()
    except TorchLoomError as error:
        state = _state_of(error)
        if state != "dropped":
            _log.info("%s@%s, as a shadow, failed: %s", pair.name, pair.shadow, error)
        return state
    return "done"


def _end_of(pair: Pair, copy: asyncio.Task[State]) -> State:
    """Tell how a copy ended; one that is cancelled before it has begun cannot tell by itself."""
    if copy.cancelled():
        return "cancelled"
    fault = copy.exception()
    if fault is None:
        return copy.result()
    _log.error("%s@%s, as a shadow, failed by a fault.", pair.name, pair.shadow, exc_info=fault)
    return "failed"


def _state_of(error: TorchLoomError) -> State:
    cause = error
    while isinstance(cause, PartFailed):  # of a run
        cause = cause.cause
    if isinstance(cause, QueueFull | NotServing):
        return "dropped"
    return "expired" if isinstance(cause, DeadlineExceeded) else "failed"


def _to_copied(options: CallOptions) -> CallOptions:
    return replace(
        options, priority=COPY_PRIORITY, tenant=_TENANT, waits_for_space=False, is_copy=True
    )


def _own(values: Values) -> Values:
    """Copy the containers: an engine in this process may change those that it is given."""
    return {name: _own_value(value) for name, value in values.items()}


def _own_value(value: object) -> object:
    if isinstance(value, dict):
        return {key: _own_value(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_own_value(each) for each in value]
    return value
