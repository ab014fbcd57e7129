"""Calls: does what nodes ask for: calls a model at its pool, or runs another workflow.

Whoever has a shadow is given copies on the way. Knows no history and no server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from torchloom.cache import ResultCache, Sink
from torchloom.engine import Values
from torchloom.graph import Graph, ModelCall, WorkflowCall
from torchloom.mirror import Mirror
from torchloom.model_call import ask
from torchloom.pool import Pool
from torchloom.run import Run
from torchloom.run_options import CallOptions, RunOptions
from torchloom.stats import Stats
from torchloom.time_limit import TimeLimits
from torchloom.timings import Meter, add_usage
from torchloom.version_table import VersionTable


class Calls:
    """The Caller of all runs: each call goes to the version that the split of its name picks."""

    def __init__(
        self,
        pools: VersionTable[Pool],
        graphs: VersionTable[Graph],
        cache: ResultCache,
        stats: Stats,
        *,
        now: Callable[[], float],
    ) -> None:
        self.limits = TimeLimits()
        self.mirror = Mirror(self, stats, now=now)
        self._pools = pools
        self._graphs = graphs
        self._cache = cache
        self._stats = stats
        self._now = now

    def begin(self, graph: Graph, inputs: Values, options: RunOptions) -> Run:
        """Begin a run, and a copy of it where it has a shadow.

        A copy has a cache and counters of its own: it changes nobody's answers.
        """
        cache = ResultCache(now=self._now) if options.is_copy else self._cache
        stats = Stats() if options.is_copy else self._stats
        run = Run(
            graph, inputs, options=options, caller=self, cache=cache, stats=stats, now=self._now
        )
        run.start()
        if not options.is_copy:
            pair = self._graphs.pick_pair(graph.name, graph.version)
            self.mirror.copy_run(pair, run, inputs)
        return run

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
        """Queue a task at the pool that the split picks, and wait for its answer."""
        pool = self._pools.pick(call.model, call.version)
        pair = None if options.is_copy else self._pools.pick_pair(call.model, pool.version)
        if pair is None:
            task, outputs = await ask(pool, inputs, params, sink=sink, options=options)
        else:
            with self.mirror.beside_task(pair, inputs, params, options):
                task, outputs = await ask(pool, inputs, params, sink=sink, options=options)
        meter.add(task.started_at - task.queued_at, self._now() - task.started_at)
        meter.count(call.model, outputs.get("usage"))
        return outputs

    async def call_workflow(
        self, call: WorkflowCall, inputs: Values, *, options: CallOptions, meter: Meter
    ) -> Values:
        """Run another workflow as a part of a run: it is not in the history."""
        graph = self._graphs.pick(call.workflow, call.version)
        left_s = None if options.deadline is None else max(options.deadline - self._now(), 0.0)
        run_options = RunOptions(
            timeout_s=left_s,
            priority=options.priority,
            tenant=options.tenant,
            waits_for_space=options.waits_for_space,
            is_streamed=False,
            is_copy=options.is_copy,
        )
        run = self.begin(graph, graph.with_defaults(inputs), run_options)
        try:
            outputs = await run.result()
        except asyncio.CancelledError:
            run.cancel()
            raise
        add_usage(meter.usage, run.usage)
        return outputs
