"""NodeRun: one node of one run: its inputs, its tasks, retry, timeout, fallback, cache, items.

Knows neither pools nor other nodes: calls go through a Caller, and what happens through a Watcher.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torchloom.cache import Outcome, ResultCache, Sink, hash_call
from torchloom.engine import Values
from torchloom.errors import (
    BatchContractError,
    DeadlineExceeded,
    InvalidInput,
    ModelLoadError,
    NodeFailed,
    NotServing,
    QueueFull,
    TaskFailed,
    TorchLoomError,
    WorkerDied,
)
from torchloom.graph import MissingValue, ModelCall, Node, TemplateCall, WorkflowCall
from torchloom.items import ItemCutter, cut
from torchloom.policy import RetryCause
from torchloom.timings import Meter


#: The most items of one foreach.
MAX_ITEMS = 10_000

#: Which cause of a retry an error is. Errors that are not here are never tried again.
_CAUSES: Mapping[type[TorchLoomError], RetryCause] = {
    BatchContractError: "failed",
    DeadlineExceeded: "timeout",
    ModelLoadError: "failed",
    NotServing: "queue_full",
    QueueFull: "queue_full",
    TaskFailed: "failed",
    WorkerDied: "worker_died",
}


def _cause(error: TorchLoomError) -> RetryCause | None:
    while isinstance(error, NodeFailed):  # a node of a sub-workflow
        error = error.cause
    return _CAUSES.get(type(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What a call carries from its run: deadline (clock seconds), priority, tenant, patience."""

    deadline: float | None = None
    priority: int = 0
    tenant: str = ""
    waits_for_space: bool = False


class Caller(Protocol):
    """Executes the calls of nodes."""

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
        self, call: WorkflowCall, inputs: Values, *, options: CallOptions
    ) -> Values:
        """Run another workflow; a caller that is cancelled cancels it."""
        ...


class Watcher(Protocol):
    """Is told what happens in a node."""

    def on_chunk(self, node: Node, index: int | None, data: Values) -> None:
        """Hear of a chunk of a streamed node."""
        ...

    def on_item(self, node: Node, index: int, item: object) -> None:
        """Hear of a finished item of a streamed node."""
        ...

    def on_retry(self, node: Node, attempt: int, error: TorchLoomError) -> None:
        """Hear of another attempt."""
        ...

    def on_cache(self, node: Node, outcome: Outcome) -> None:
        """Hear how the cache answered."""
        ...


class Skipped(Exception):
    """The node is skipped: its condition is false, or it reads a node that was skipped."""


class NodeRun:
    """One node of one run."""

    def __init__(
        self,
        node: Node,
        *,
        caller: Caller,
        watcher: Watcher,
        cache: ResultCache,
        options: CallOptions,
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._caller = caller
        self._watcher = watcher
        self._cache = cache
        self._options = options
        self._now = now
        self.meter = Meter()

    async def execute(self, scope: Mapping[str, object], *, is_streamed: bool) -> Values:
        """Work the node out. Raises Skipped, or the error for which it failed for good."""
        node = self._node
        try:
            if node.when is not None and not node.when.evaluate(scope):
                raise Skipped
            if node.foreach is None:
                return await self._execute_one(scope, None, is_streamed=is_streamed)
            items = self._list_items(scope)
        except MissingValue as missing:
            raise Skipped from missing
        return await self._execute_each(items, scope, is_streamed=is_streamed)

    def _list_items(self, scope: Mapping[str, object]) -> list[object]:
        node = self._node
        assert node.foreach is not None
        items = node.foreach.evaluate(scope)
        if not isinstance(items, Sequence) or isinstance(items, str | bytes):
            message = f"`foreach` needs a list and was given a {type(items).__name__}."
            raise InvalidInput(message)
        limit = node.limit.evaluate(scope) if node.limit else None
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise InvalidInput(f"`limit` needs a whole number from 0 up and was given {limit!r}.")
        items = list(items[:limit])
        if len(items) > MAX_ITEMS:
            message = f"`foreach` was given {len(items)} items; the most is {MAX_ITEMS}."
            raise InvalidInput(message)
        return items

    async def _execute_each(
        self, items: Sequence[object], scope: Mapping[str, object], *, is_streamed: bool
    ) -> Values:
        """Run one task an item, all at once; gather every output as a list, in item order."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        self._execute_one(
                            {**scope, "item": item, "index": index}, index, is_streamed=is_streamed
                        )
                    )
                    for index, item in enumerate(items)
                ]
        except* (TorchLoomError, MissingValue) as failures:
            error: BaseException = failures
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            if isinstance(error, MissingValue):
                raise Skipped from error
            raise error from None
        results = [task.result() for task in tasks]
        names = dict.fromkeys([*self._node.outputs, *(name for r in results for name in r)])
        return {name: [result.get(name) for result in results] for name in names}

    async def _execute_one(
        self, scope: Mapping[str, object], index: int | None, *, is_streamed: bool
    ) -> Values:
        inputs = {name: value.evaluate(scope) for name, value in self._node.inputs.items()}
        params = {name: value.evaluate(scope) for name, value in self._node.params.items()}
        stream = _Stream(self._node, index, self._watcher) if is_streamed else None
        try:
            outputs = await self._try(scope, inputs, params, stream)
        except TorchLoomError as error:
            outputs = await self._fall_back(error, inputs, params)
        if self._node.items is not None and isinstance(outputs.get("text"), str):
            outputs = {**outputs, "items": cut(self._node.items, str(outputs["text"]))}
        if stream is not None:
            stream.finish()
        return outputs

    async def _try(
        self, scope: Mapping[str, object], inputs: Values, params: Values, stream: _Stream | None
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
            await asyncio.sleep(policy.backoff_s * 2 ** (attempt - 1))
            attempt += 1

    async def _attempt(
        self, scope: Mapping[str, object], inputs: Values, params: Values, stream: _Stream | None
    ) -> Values:
        timeout_s = self._node.timeout_s
        if timeout_s is None:
            return await self._consult_cache(scope, inputs, params, stream)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._consult_cache(scope, inputs, params, stream)
        except TimeoutError:
            raise DeadlineExceeded(f"No answer within its timeout of {timeout_s} s.") from None

    async def _consult_cache(
        self, scope: Mapping[str, object], inputs: Values, params: Values, stream: _Stream | None
    ) -> Values:
        sink = stream.add if stream is not None else None
        policy, options = self._node.cache, self._call_options()
        # A template also reads what is not among its inputs, and costs less than a look-up.
        if policy is None or isinstance(self._node.call, TemplateCall):
            return await self._call(scope, inputs, params, sink=sink, options=options)
        key = hash_call(repr(self._node.call), inputs, params)
        # Whoever comes first must not impose its deadline on those who share the call: each stops
        # waiting by itself, and the call ends with the last.
        shared = replace(options, deadline=None)

        def execute(shared_sink: Sink) -> Awaitable[Values]:
            return self._call(scope, inputs, params, sink=shared_sink, options=shared)

        outputs, outcome = await self._cache.get(key, policy.ttl_s, execute, sink)
        self._watcher.on_cache(self._node, outcome)
        return outputs

    async def _call(
        self,
        scope: Mapping[str, object],
        inputs: Values,
        params: Values,
        *,
        sink: Sink | None,
        options: CallOptions,
    ) -> Values:
        call = self._node.call
        if isinstance(call, TemplateCall):
            value = call.template.evaluate({**scope, **inputs})
            return {"value": value, **({"text": value} if isinstance(value, str) else {})}
        if isinstance(call, WorkflowCall):
            return await self._repeat(call, inputs, options)
        return await self._call_model(call, inputs, params, sink=sink, options=options)

    async def _repeat(self, call: WorkflowCall, inputs: Values, options: CallOptions) -> Values:
        """Run the sub-workflow until its condition holds, each round on the last one's outputs."""
        outputs: Values = {}
        for _ in range(call.max_repeats):
            again = {name: value for name, value in outputs.items() if name in inputs}
            outputs = await self._caller.call_workflow(call, {**inputs, **again}, options=options)
            if call.repeat_until is None or call.repeat_until.evaluate({"outputs": outputs}):
                break
        return outputs

    async def _call_model(
        self,
        call: ModelCall,
        inputs: Values,
        params: Values,
        *,
        sink: Sink | None,
        options: CallOptions,
    ) -> Values:
        return await self._caller.call_model(
            call, inputs, params, sink=sink, options=options, meter=self.meter
        )

    def _call_options(self) -> CallOptions:
        node, options = self._node, self._options
        deadline = options.deadline
        if node.timeout_s is not None:
            own = self._now() + node.timeout_s
            deadline = own if deadline is None else min(own, deadline)
        return CallOptions(
            deadline=deadline,
            priority=options.priority if node.priority is None else node.priority,
            tenant=options.tenant,
            # The items of one foreach are one request's: they queue up instead of being refused.
            waits_for_space=options.waits_for_space or node.foreach is not None,
        )

    async def _fall_back(self, error: TorchLoomError, inputs: Values, params: Values) -> Values:
        """Give what stands in for the node, or raise the error."""
        fallback = self._node.fallback
        if fallback is None:
            raise error
        if fallback.model is not None:
            options = self._call_options()
            return await self._call_model(
                fallback.model, inputs, params, sink=None, options=options
            )
        return dict(fallback.value or {})


class _Stream:
    """Hands the chunks of one task to the watcher, and cuts items on the way."""

    def __init__(self, node: Node, index: int | None, watcher: Watcher) -> None:
        self._node = node
        self._index = index
        self._watcher = watcher
        self._cutter = ItemCutter(node.items) if node.items else None
        self._num_items = 0
        self.has_begun = False

    def add(self, data: Values) -> None:
        """Take a chunk."""
        self.has_begun = True
        self._watcher.on_chunk(self._node, self._index, data)
        text = data.get("text")
        if self._cutter is not None and isinstance(text, str):
            self._tell(self._cutter.feed(text))

    def finish(self) -> None:
        """Give the last item."""
        if self._cutter is not None:
            self._tell(self._cutter.finish())

    def _tell(self, items: Sequence[object]) -> None:
        for item in items:
            self._watcher.on_item(self._node, self._num_items, item)
            self._num_items += 1
