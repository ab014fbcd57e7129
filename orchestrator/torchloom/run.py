"""Run: one execution of a graph for one request. Knows no HTTP and no worker.

What changes its state is decided in Progress (which nodes go next) and told in its EventLog.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from enum import StrEnum
from functools import partial

import msgspec

from torchloom.cache import Outcome, ResultCache
from torchloom.engine import Values
from torchloom.errors import Cancelled, DeadlineExceeded, NodeFailed, TaskFailed, TorchLoomError
from torchloom.event_log import EventLog, RunEvent
from torchloom.feed import Feed
from torchloom.graph import Graph, MissingValue, Node
from torchloom.node_run import Caller, NodeRun, Skipped
from torchloom.progress import Progress
from torchloom.random_id import new_id
from torchloom.run_options import RunOptions
from torchloom.stats import Stats
from torchloom.timings import NodeTiming, RunTimings, Usage, add_usage, to_timings


_log = logging.getLogger(__name__)


class RunState(StrEnum):
    """Where a run is. The last three are final."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: What may follow what.
TRANSITIONS: Mapping[RunState, frozenset[RunState]] = {
    RunState.RUNNING: frozenset({RunState.DONE, RunState.FAILED, RunState.CANCELLED}),
    RunState.DONE: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}


class Run:
    """One execution. `start` begins it; `result` waits for it; `events` tells what happens."""

    def __init__(
        self,
        graph: Graph,
        inputs: Values,
        *,
        options: RunOptions,
        caller: Caller,
        cache: ResultCache,
        stats: Stats,
        now: Callable[[], float],
    ) -> None:
        self.id = f"run_{new_id()}"
        self.graph = graph
        self.options = options
        self.state = RunState.RUNNING
        self.created_at = time.time()
        self.error: TorchLoomError | None = None
        self.outputs: Values | None = None
        #: What the nodes that have finished took, in tokens; results of the cache took none.
        self.usage: Usage = {}
        self.log = EventLog()
        self._inputs = inputs
        self._caller = caller
        self._cache = cache
        self._stats = stats
        self._now = now
        self._began = now()
        self._ended: float | None = None
        self._progress = Progress(graph)
        self._feeds = {
            name: Feed(now, may_start_over=graph.nodes[name].fallback is not None)
            for name in graph.sources
        }
        self._node_timings: dict[str, NodeTiming] = {}
        self._met_s: dict[tuple[str, str], float] = {}
        self._execution: asyncio.Task[None] | None = None
        self._is_over = asyncio.Event()
        self._is_streamed = options.is_streamed
        self._call_options = options.to_call_options(self._began)

    def __repr__(self) -> str:
        """Say what it runs and how far it is."""
        return f"<Run {self.id} of {self.graph.label}: {self.state.value}, {self._progress!r}>"

    @property
    def duration_s(self) -> float:
        """Seconds that it took, or has taken so far."""
        return (self._now() if self._ended is None else self._ended) - self._began

    @property
    def is_over(self) -> bool:
        """Tell whether nothing can follow."""
        return not TRANSITIONS[self.state]

    @property
    def unfinished(self) -> frozenset[str]:
        """Names of the nodes that are not settled."""
        return frozenset(self._progress.pending | self._progress.in_flight)

    @property
    def node_timings(self) -> Mapping[str, NodeTiming]:
        """The timings of the nodes that have finished, in the order of their ends."""
        return self._node_timings

    @property
    def timings(self) -> RunTimings:
        """The timings of the nodes that have finished."""
        return to_timings(self.duration_s, self._node_timings, self.graph.needs, self._met_s)

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._stats.counter("runs_in_progress", self.graph.name).add()
        started = {"run": self.id, "workflow": self.graph.name, "version": self.graph.version}
        self.log.add("run.started", started)
        self._execution = asyncio.get_running_loop().create_task(self._run())
        self._execution.add_done_callback(self._see_end)

    def _see_end(self, execution: asyncio.Task[None]) -> None:
        """Leave no caller waiting: after a cancellation before it began, or a fault of ours."""
        if self.is_over:
            return
        if execution.cancelled():
            self._end(RunState.CANCELLED, error=Cancelled("The run was cancelled."))
        else:
            _log.error("%r ended by a fault.", self, exc_info=execution.exception())
            self._end(RunState.FAILED, error=TaskFailed("An internal error."))

    async def result(self) -> Values:
        """Wait for the outputs; raises the error for which it failed.

        Leaving does not cancel it.
        """
        await self._is_over.wait()
        if self.error is not None:
            raise self.error
        assert self.outputs is not None
        return self.outputs

    async def wait(self) -> None:
        """Wait for its end, whatever that is."""
        await self._is_over.wait()

    def events(self, after: int = 0) -> AsyncIterator[RunEvent]:
        """Give every event with an id above `after`, then those to come, to the end."""
        return self.log.follow(after)

    def cancel(self) -> None:
        """Give it up: everything it has begun is cancelled, down to the engines' next steps."""
        if self._execution is not None and not self.is_over:
            self._execution.cancel()

    # Execution

    async def _run(self) -> None:
        try:
            with self.options.time_limit(self._caller.limits):
                await self._execute_nodes()
                outputs = self._collect()
        except TimeoutError:
            message = f"The run took longer than its {self.options.timeout_s} s."
            self._end(RunState.FAILED, error=DeadlineExceeded(message))
        except asyncio.CancelledError:
            # Not raised again: this task is the run, and its end is told by its state.
            self._end(RunState.CANCELLED, error=Cancelled("The run was cancelled."))
        except TorchLoomError as error:
            self._end(RunState.FAILED, error=error)
        else:
            self._end(RunState.DONE, outputs=outputs)

    async def _execute_nodes(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                await self._execute_ready(group)
        except* TorchLoomError as failures:
            error: BaseException = failures
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from None

    async def _execute_ready(self, group: asyncio.TaskGroup) -> None:
        """Execute the nodes that are ready, and those that become ready by that.

        The first needs no task of its own: a chain of nodes is executed in one.
        """
        while ready := self._progress.start_ready():
            first, *others = ready
            for name in others:
                group.create_task(self._execute_from(self.graph.nodes[name], group))
            await self._execute_node(self.graph.nodes[first])

    async def _execute_from(self, node: Node, group: asyncio.TaskGroup) -> None:
        await self._execute_node(node)
        await self._execute_ready(group)

    async def _execute_node(self, node: Node) -> None:
        started = self._now()
        is_shown = node.name in self.graph.stream
        self.log.add("node.started", {"node": node.name})
        node_run = NodeRun(
            node,
            caller=self._caller,
            watcher=self,
            cache=self._cache,
            options=self._call_options,
            now=self._now,
            is_streamed=is_shown and self._is_streamed,
            outlet=self._feeds.get(node.name),
        )
        # The feed is gone once its node is settled: then its outputs are in the scope.
        source = None if node.live is None else self._feeds.get(node.live)
        try:
            outputs = await node_run.execute(self._scope(self.graph.reads[node.name]), source)
        except Skipped:
            self._progress.skip(node.name)
            self._end_feed(node, None)
            self.log.add("node.skipped", {"node": node.name})
        except TorchLoomError as error:
            raise NodeFailed(node.name, error) from error
        else:
            self._progress.finish(node.name, outputs)
            self._end_feed(node, outputs)
            self._note_finish(node, node_run, started, outputs if is_shown else None)

    def _end_feed(self, node: Node, outputs: Values | None) -> None:
        feed = self._feeds.pop(node.name, None)
        if feed is not None:
            feed.end(outputs)

    def _note_finish(
        self, node: Node, node_run: NodeRun, started: float, shown: Values | None
    ) -> None:
        now, meter = self._now(), node_run.meter
        self._node_timings[node.name] = NodeTiming(
            started_s=started - self._began,
            finished_s=now - self._began,
            queue_s=meter.queue_s,
            run_s=meter.run_s,
            num_tasks=meter.num_tasks,
        )
        add_usage(self.usage, meter.usage)
        if node_run.fed_at is not None and node.live is not None:
            self._met_s[node.live, node.name] = node_run.fed_at - self._began
        self._stats.histogram("node_seconds", self.graph.name, node.name).observe(now - started)
        data: dict[str, object] = {"node": node.name, "seconds": now - started}
        self.log.add("node.finished", data if shown is None else {**data, "outputs": shown})

    def _scope(self, reads: Iterable[str]) -> dict[str, object]:
        """Give what a node reads and no more: whoever holds a result keeps it in memory."""
        results = self._progress.results
        return {"inputs": self._inputs, **{n: results[n] for n in reads if n in results}}

    def _collect(self) -> Values:
        """Work the outputs out; one that reads a skipped node is None."""
        scope = self._scope(self._progress.results)
        outputs: dict[str, object] = {}
        for name, binding in self.graph.outputs.items():
            try:
                outputs[name] = binding.evaluate(scope)
            except MissingValue:
                outputs[name] = None
            except TorchLoomError as error:
                raise TaskFailed(f"Output {name!r}: {error.message}") from error
        return outputs

    def _end(
        self,
        state: RunState,
        *,
        outputs: Values | None = None,
        error: TorchLoomError | None = None,
    ) -> None:
        assert state in TRANSITIONS[self.state], f"{self.state} to {state}"
        self.state, self.outputs, self.error = state, outputs, error
        self._ended = self._now()
        # The history keeps many of those that are over: not what they were asked.
        self._progress.results.clear()
        self._feeds.clear()
        self._inputs = {}
        if error is None:
            # Not worked out unless somebody reads of it; and a run that knows its own log, and that
            # the run, would be a cycle.
            measured = (self.duration_s, self._node_timings, self.graph.needs, self._met_s)
            self.log.add("run.finished", partial(_tell_finish, outputs, *measured))
        else:
            self.log.add("run.failed", {"error": describe(error)})
        self.log.close()
        self._is_over.set()
        self._stats.counter("runs_in_progress", self.graph.name).add(-1.0)
        self._stats.histogram("run_seconds", self.graph.name, state.value).observe(self.duration_s)

    # What nodes tell

    def on_chunk(self, node: Node, task: int | None, data: Values) -> None:
        """Tell of a chunk."""
        place = {"node": node.name} if task is None else {"node": node.name, "index": task}
        self.log.add("node.chunk", {**place, **data})

    def on_item(self, node: Node, task: int | None, index: int, item: object) -> None:
        """Tell of an item that was cut from text."""
        place = {} if task is None else {"foreach_index": task}
        data = {"node": node.name, **place, "index": index, "item": item}
        self.log.add("node.item", data)

    def on_outputs(self, node: Node, task: int, outputs: Values) -> None:
        """Tell of a finished item of a foreach."""
        self.log.add("node.item", {"node": node.name, "index": task, "outputs": outputs})

    def on_start_over(self, node: Node, task: int | None, error: TorchLoomError | None) -> None:
        """Tell that what has been told of a node, or of one of its items, holds no more."""
        place = {"node": node.name} if task is None else {"node": node.name, "index": task}
        why = {} if error is None else {"error": describe(error)}
        self.log.add("node.restarted", {**place, **why})

    def on_retry(self, node: Node, attempt: int, error: TorchLoomError) -> None:
        """Tell of another attempt."""
        self._stats.counter("retries", self.graph.name, node.name).add()
        data = {"node": node.name, "attempt": attempt, "error": describe(error)}
        self.log.add("node.retried", data)

    def on_cache(self, node: Node, outcome: Outcome) -> None:
        """Count how the cache answered."""
        self._stats.counter("cache_requests", node.name, outcome).add()


def _tell_finish(
    outputs: Values | None,
    total_s: float,
    nodes: dict[str, NodeTiming],
    needs: Mapping[str, Collection[str]],
    met_s: Mapping[tuple[str, str], float],
) -> Mapping[str, object]:
    timings = to_timings(total_s, nodes, needs, met_s)
    return {"outputs": outputs, "timings": msgspec.to_builtins(timings)}


def describe(error: TorchLoomError) -> dict[str, object]:
    """Give an error as the body of a problem document (RFC 9457)."""
    return {
        "type": error.type,
        "title": error.title,
        "status": error.status,
        "detail": error.message,
    }
