"""NodeRun: one node of one run: its inputs, its tasks, retry, timeout, fallback, cache, foreach.

Knows neither pools nor other nodes: calls go through a Caller, items of another node come through a
Feed, and what happens is told to a Watcher.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from msgspec.structs import replace

from torchloom.cache import ResultCache, Sink, hash_call
from torchloom.engine import Values
from torchloom.errors import (
    BatchContractError,
    DeadlineExceeded,
    HandlerFailed,
    ModelLoadError,
    NotServing,
    OutOfMemory,
    PartFailed,
    QueueFull,
    TaskFailed,
    TorchLoomError,
    WorkerDied,
)
from torchloom.feed import Feed
from torchloom.foreach_run import ForeachRun
from torchloom.graph import MissingValue, ModelCall, Node, TemplateCall, WorkflowCall
from torchloom.items import cut
from torchloom.policy import CachePolicy, RetryCause
from torchloom.run_options import CallOptions
from torchloom.task_stream import TaskStream
from torchloom.time_limit import TimeLimits
from torchloom.timings import Meter
from torchloom.watcher import Watcher


#: Which cause of a retry an error is. Errors that are not here are never tried again.
_CAUSES: Mapping[type[TorchLoomError], RetryCause] = {
    BatchContractError: "failed",
    DeadlineExceeded: "timeout",
    HandlerFailed: "failed",
    ModelLoadError: "failed",
    NotServing: "queue_full",
    OutOfMemory: "failed",
    QueueFull: "queue_full",
    TaskFailed: "failed",
    WorkerDied: "worker_died",
}


def _cause(error: TorchLoomError) -> RetryCause | None:
    while isinstance(error, PartFailed):  # of a sub-workflow
        error = error.cause
    return _CAUSES.get(type(error))


class Caller(Protocol):
    """Executes the calls of nodes, and watches how long they take."""

    @property
    def limits(self) -> TimeLimits:
        """Give what limits the time of whoever calls."""
        ...

    async def call_model(
        self,
        call: ModelCall,
        inputs: Values,
        params: Values,
        *,
        sink: Sink | None,
        options: CallOptions,
        meter: Meter,
    ) -> Values:
        """Call a model; a caller that is cancelled cancels it."""
        ...

    async def call_workflow(
        self, call: WorkflowCall, inputs: Values, *, options: CallOptions, meter: Meter
    ) -> Values:
        """Run another workflow; a caller that is cancelled cancels it."""
        ...


class Skipped(Exception):
    """The node is skipped: its condition is false, or it reads a node that was skipped."""


class NodeRun:
    """One node of one run.

    With `is_streamed` its chunks are told as they come. Its items go to the `outlet`, if it has
    one, while it still writes them.
    """

    def __init__(
        self,
        node: Node,
        *,
        caller: Caller,
        watcher: Watcher,
        cache: ResultCache,
        options: CallOptions,
        now: Callable[[], float],
        is_streamed: bool = False,
        outlet: Feed | None = None,
    ) -> None:
        self._node = node
        self._caller = caller
        self._watcher = watcher
        self._cache = cache
        self._options = options
        self._now = now
        self._is_streamed = is_streamed
        self._outlet = outlet
        self.meter = Meter()
        #: When what it waited for last came from its source, in the clock's seconds.
        self.fed_at: float | None = None

    async def execute(self, scope: Mapping[str, object], source: Feed | None = None) -> Values:
        """Work the node out. Raises Skipped, or the error for which it failed for good.

        The `source` gives the items of its foreach while they are written.
        """
        node = self._node
        try:
            if node.when is not None and not node.when.evaluate(scope):
                raise Skipped
            if node.foreach is None:
                return await self._execute_one(scope, None)
            return await self._execute_each(scope, source)
        except MissingValue as missing:
            raise Skipped from missing

    async def _execute_each(self, scope: Mapping[str, object], source: Feed | None) -> Values:
        watcher = self._watcher if self._is_streamed else None
        foreach = ForeachRun(self._node, self._execute_one, watcher=watcher, now=self._now)
        outputs = await foreach.execute(scope, source)
        self.fed_at = foreach.fed_at
        return outputs

    async def _execute_one(self, scope: Mapping[str, object], index: int | None) -> Values:
        inputs = {name: value.evaluate(scope) for name, value in self._node.inputs.items()}
        params = {name: value.evaluate(scope) for name, value in self._node.params.items()}
        stream = self._open_stream(index)
        # Each part that a node has no use for would be one more coroutine to go through.
        work = self._attempt if self._node.retry.attempts == 1 else self._try
        try:
            return await work(scope, inputs, params, stream)
        except TorchLoomError as error:
            return await self._fall_back(error, inputs, params, stream)

    def _open_stream(self, index: int | None) -> TaskStream | None:
        """Give what takes chunks, where somebody wants them."""
        if not self._is_streamed and self._outlet is None:
            return None
        watcher = self._watcher if self._is_streamed else None
        return TaskStream(self._node, index, watcher=watcher, outlet=self._outlet)

    async def _try(
        self,
        scope: Mapping[str, object],
        inputs: Values,
        params: Values,
        stream: TaskStream | None,
    ) -> Values:
        """Make the attempts that the retry policy allows."""
        policy = self._node.retry
        attempt = 1
        while True:
            try:
                return await self._attempt(scope, inputs, params, stream)
            except TorchLoomError as error:
                has_begun = stream is not None and stream.has_begun
                cause = _cause(error)
                if attempt >= policy.attempts or has_begun or cause not in policy.on:
                    raise
                self._watcher.on_retry(self._node, attempt + 1, error)
            if stream is not None:
                stream.begin_attempt()
            await asyncio.sleep(policy.backoff_s * 2 ** (attempt - 1))
            attempt += 1

    async def _attempt(
        self,
        scope: Mapping[str, object],
        inputs: Values,
        params: Values,
        stream: TaskStream | None,
    ) -> Values:
        timeout_s = self._node.timeout_s
        if timeout_s is None:
            return self._complete(await self._work_out(scope, inputs, params, stream), stream)
        try:
            with self._caller.limits.within(timeout_s):
                outputs = await self._work_out(scope, inputs, params, stream)
        except TimeoutError:
            raise DeadlineExceeded(f"No answer within its timeout of {timeout_s} s.") from None
        return self._complete(outputs, stream)

    def _complete(self, outputs: Values, stream: TaskStream | None) -> Values:
        """Add the items that are cut from the text."""
        if stream is not None:
            return stream.finish(outputs)
        items, text = self._node.items, outputs.get("text")
        if items is not None and isinstance(text, str):
            return {**outputs, "items": cut(items, text)}
        return outputs

    def _work_out(
        self, scope: Mapping[str, object], inputs: Values, params: Values, stream: TaskStream | None
    ) -> Awaitable[Values]:
        call, options = self._node.call, self._call_options()
        sink = stream.add if stream is not None else None
        # A template also reads what is not among its inputs, and costs less than a look-up.
        if isinstance(call, TemplateCall):
            return self._fill(call, scope, inputs)
        if self._node.cache is None:
            return self._call(call, inputs, params, sink=sink, options=options)
        return self._consult_cache(self._node.cache, call, inputs, params, sink, options)

    async def _fill(
        self, call: TemplateCall, scope: Mapping[str, object], inputs: Values
    ) -> Values:
        value = call.template.evaluate({**scope, **inputs})
        return {"value": value, **({"text": value} if isinstance(value, str) else {})}

    async def _consult_cache(
        self,
        policy: CachePolicy,
        call: ModelCall | WorkflowCall,
        inputs: Values,
        params: Values,
        sink: Sink | None,
        options: CallOptions,
    ) -> Values:
        key = hash_call(repr(call), inputs, params)
        # Whoever comes first must not impose its deadline on those who share the call: each stops
        # waiting by itself, and the call ends with the last.
        shared = replace(options, deadline=None)

        def execute(shared_sink: Sink) -> Awaitable[Values]:
            return self._call(call, inputs, params, sink=shared_sink, options=shared)

        outputs, outcome = await self._cache.get(key, policy.ttl_s, execute, sink)
        self._watcher.on_cache(self._node, outcome)
        return outputs

    def _call(
        self,
        call: ModelCall | WorkflowCall,
        inputs: Values,
        params: Values,
        *,
        sink: Sink | None,
        options: CallOptions,
    ) -> Awaitable[Values]:
        if isinstance(call, WorkflowCall):
            return self._repeat(call, inputs, options)
        return self._caller.call_model(
            call, inputs, params, sink=sink, options=options, meter=self.meter
        )

    async def _repeat(self, call: WorkflowCall, inputs: Values, options: CallOptions) -> Values:
        """Run the sub-workflow until its condition holds, each round on the last one's outputs."""
        outputs: Values = {}
        for _ in range(call.max_repeats):
            again = {name: value for name, value in outputs.items() if name in inputs}
            outputs = await self._caller.call_workflow(
                call, {**inputs, **again}, options=options, meter=self.meter
            )
            if call.repeat_until is None or call.repeat_until.evaluate({"outputs": outputs}):
                break
        return outputs

    def _call_options(self) -> CallOptions:
        node, options = self._node, self._options
        deadline = options.deadline
        if node.timeout_s is not None:
            own = self._now() + node.timeout_s
            deadline = own if deadline is None else min(own, deadline)
        own_priority = None if options.is_copy else node.priority
        return CallOptions(
            deadline=deadline,
            priority=options.priority if own_priority is None else own_priority,
            tenant=options.tenant,
            # The items of one foreach are one request's: they queue up instead of being refused.
            waits_for_space=options.waits_for_space or node.foreach is not None,
            device=node.device or "",
            is_copy=options.is_copy,
        )

    async def _fall_back(
        self, error: TorchLoomError, inputs: Values, params: Values, stream: TaskStream | None
    ) -> Values:
        """Give what stands in for the node, or raise the error."""
        fallback = self._node.fallback
        if fallback is None:
            raise error
        if stream is not None:
            stream.start_over(error)
        if fallback.model is None:
            return self._complete(dict(fallback.value or {}), stream)
        sink = stream.add if stream is not None else None
        options = self._call_options()
        outputs = await self._call(fallback.model, inputs, params, sink=sink, options=options)
        return self._complete(outputs, stream)
