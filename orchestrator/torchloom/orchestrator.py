"""Orchestrator: the object that users hold. Models in, workflows in, runs out.

Knows no file, no framework and no HTTP. Everything happens on one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Self

from torchloom.cache import ResultCache, Sink
from torchloom.calls import Calls
from torchloom.dependency import (
    models_ahead,
    refuse_if_called,
    refuse_if_needed,
    refuse_recursion,
    refuse_unknown_models,
)
from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.errors import Conflict, DeadlineExceeded, NotServing, UnknownModel, UnknownWorkflow
from torchloom.executor import Executor, InlineExecutor, LocalExecutor
from torchloom.graph import Graph, ModelCall
from torchloom.history import History
from torchloom.memory import Memory
from torchloom.model_status import ModelStatus
from torchloom.policy import ReplicaPolicy
from torchloom.pool import OnProgress, Pool
from torchloom.pool_series import pool_series
from torchloom.run import Run
from torchloom.run_options import RunOptions
from torchloom.stats import Series, Stats
from torchloom.timings import Meter
from torchloom.traffic import Shadow
from torchloom.version_table import VersionTable


class Orchestrator:
    """Holds pools, graphs and runs; use it as `async with`. The constructor does nothing.

    `executor` starts the workers of models, `inline_executor` those that run in this process; what
    they may hold is in `memory`.
    """

    def __init__(
        self,
        *,
        executor: Executor | None = None,
        inline_executor: Executor | None = None,
        memory: Memory | None = None,
        now: Callable[[], float] = time.monotonic,
        history_size: int = 1000,
        cache_size: int = 1024,
    ) -> None:
        self.stats = Stats()
        self.is_draining = False
        self._executor = executor or LocalExecutor()
        self._inline_executor = inline_executor or InlineExecutor()
        self.memory = memory or Memory()
        self.memory.needed = self._models_needed
        self._now = now
        self._pools: VersionTable[Pool] = VersionTable(
            "Model", UnknownModel, serves=lambda pool: pool.can_serve
        )
        self._graphs: VersionTable[Graph] = VersionTable("Workflow", UnknownWorkflow)
        self._history = History(history_size)
        cache = ResultCache(max_entries=cache_size, now=now)
        self._calls = Calls(self._pools, self._graphs, cache, self.stats, now=now)

    def __repr__(self) -> str:
        """Say what every pool does."""
        return f"<Orchestrator {' | '.join(repr(pool) for pool in self._pools)}>"

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Cancel every run and end every worker."""
        await self.stop()

    async def drain(self, grace_s: float) -> None:
        """Refuse new work and wait, within the grace, until what was accepted is done."""
        self.is_draining = True
        await self._calls.mirror.stop()
        try:
            async with asyncio.timeout(grace_s):
                for run in self._history.in_progress():
                    await run.wait()
                await asyncio.gather(*(pool.drain(grace_s) for pool in self._pools))
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Cancel every run and end every worker."""
        self.is_draining = True
        await self._calls.mirror.stop()
        for run in self._history.in_progress():
            run.cancel()
            await run.wait()
        await asyncio.gather(*(pool.stop() for pool in self._pools))
        self._calls.limits.end()

    def _refuse_if_draining(self) -> None:
        if self.is_draining:
            raise NotServing("The server is draining. Try again elsewhere.", retry_after_s=1.0)

    @property
    def is_ready(self) -> bool:
        """Tell whether new work is taken and every model version can serve."""
        states = {pool.state for pool in self._pools}
        return not self.is_draining and states <= {"ready", "degraded", "evicted", "empty"}

    # Models

    async def add_model(
        self, deployment: Deployment, on_progress: OnProgress | None = None
    ) -> None:
        """Load a model version; returns when it is warm and serves.

        The same deployment again changes nothing. Raises Conflict for another one under the same
        name and version, and what kept it from loading, with nothing left behind.
        """
        self._refuse_if_draining()
        there = self._pools.find(deployment.name, deployment.version)
        if there is not None:
            if there.deployment == deployment:
                await there.wait_started()
                return
            message = f"Model {deployment.label!r} exists already, with other content."
            raise Conflict(message)
        executor = self._inline_executor if deployment.is_inline else self._executor
        pool = Pool(
            deployment,
            executor,
            self.stats,
            now=self._now,
            memory=self.memory,
            on_progress=on_progress,
        )
        self._pools.put(deployment.name, deployment.version, pool)
        try:
            await pool.start()
        except BaseException:
            # Someone may have removed it while it was loading.
            if self._pools.find(deployment.name, deployment.version) is pool:
                self._pools.remove(deployment.name, deployment.version)
            await pool.stop()
            raise

    async def remove_model(
        self, name: str, version: int | None = None, *, grace_s: float = 30.0, end_s: float = 5.0
    ) -> None:
        """Drain one version, or all, and end it. Raises UnknownModel; Conflict if it is needed."""
        versions = self._pools.versions(name) if version is None else [version]
        pools = [self._pools.get(name, v) for v in versions]
        if len(pools) == len(self._pools.versions(name)):
            refuse_if_needed(name, self._graphs)
        await asyncio.gather(*(self._take_out(pool, grace_s, end_s) for pool in pools))

    async def _take_out(self, pool: Pool, grace_s: float, end_s: float) -> None:
        name, version = pool.name, pool.version
        await pool.drain(grace_s)
        if self._pools.find(name, version) is pool:
            self._pools.remove(name, version)
        await pool.stop(end_s)
        self.stats.readings.forget(name, version)

    async def scale_model(
        self, name: str, version: int | None = None, *, replicas: ReplicaPolicy
    ) -> None:
        """Start or drain replicas until each device has a number within the bounds."""
        await self._pools.get(name, version).scale(replicas)

    async def apply_setting(self, name: str, version: int, *, key: str, value: object) -> None:
        """Tell a model's engines a setting, those that start later too; see Fleet and Settable."""
        await self._pools.get(name, version).apply_setting(key, value)

    def _models_needed(self) -> set[str]:
        """Name the models that runs in progress have yet to call."""
        graphs = list(self._graphs)
        runs = self._history.in_progress()
        return {m for run in runs for m in models_ahead(run.graph, run.unfinished, graphs)}

    def set_model_traffic(
        self, name: str, weights: Mapping[int, float], shadow: Shadow | None = None
    ) -> None:
        """Split a model's requests by weight; a shadow is given copies of some."""
        self._pools.set_split(name, weights, shadow)

    def model_shadow(self, name: str, beside: Mapping[int, float] | None = None) -> Shadow | None:
        """Give a model's shadow, if it has one, and these weights leave it one."""
        return self._pools.shadow(name, beside=beside)

    def models(self) -> list[ModelStatus]:
        """Describe every model version."""
        return [self._status(pool) for pool in self._pools]

    def model(self, name: str, version: int | None = None) -> ModelStatus:
        """Describe one; raises UnknownModel with the nearest name."""
        return self._status(self._pools.get(name, version))

    def pick_model(self, name: str, version: int | None = None) -> Deployment:
        """Give the version that the next request goes to, which the split decides."""
        return self._pools.pick(name, version).deployment

    def _status(self, pool: Pool) -> ModelStatus:
        name, version = pool.name, pool.version
        status = pool.status(self._pools.weight(name, version))
        return replace(status, shadow_percent=self._pools.copies(name, version))

    # Workflows

    def add_workflow(self, graph: Graph) -> None:
        """Take a graph in. The same source again changes nothing.

        Raises Conflict for another source under the same name and version, UnknownModel or
        UnknownWorkflow for a call that nothing answers.
        """
        there = self._graphs.find(graph.name, graph.version)
        if there is not None:
            if there.source == graph.source:
                return
            message = f"Workflow {graph.label!r} exists already, with other content."
            raise Conflict(message)
        refuse_unknown_models(graph, self._pools.names())
        for call in graph.workflow_calls:
            self._graphs.get(call.workflow, call.version)
        refuse_recursion(graph, list(self._graphs))
        self._graphs.put(graph.name, graph.version, graph)

    async def remove_workflow(
        self, name: str, version: int | None = None, *, grace_s: float = 30.0
    ) -> None:
        """Take one version, or all, out of service, then wait for its runs to end.

        Raises UnknownWorkflow; Conflict where another workflow calls it.
        """
        versions = self._graphs.versions(name) if version is None else [version]
        gone = [self._graphs.get(name, v) for v in versions]
        refuse_if_called(gone, self._graphs)
        for graph in gone:
            self._graphs.remove(name, graph.version)
        runs = [run for run in self._history.in_progress() if run.graph in gone]
        if runs:
            await asyncio.wait([asyncio.ensure_future(run.wait()) for run in runs], timeout=grace_s)
        for run in runs:
            run.cancel()

    def set_workflow_traffic(
        self, name: str, weights: Mapping[int, float], shadow: Shadow | None = None
    ) -> None:
        """Split a workflow's runs by weight; a shadow is given copies of some."""
        self._graphs.set_split(name, weights, shadow)

    def workflow_copies(self, name: str, version: int) -> float:
        """Tell of how many of others' runs a version gets copies, in percent."""
        return self._graphs.copies(name, version)

    def workflows(self) -> list[Graph]:
        """List every version of every workflow."""
        return list(self._graphs)

    def workflow(self, name: str, version: int | None = None) -> Graph:
        """Give one; raises UnknownWorkflow with the nearest name."""
        return self._graphs.get(name, version)

    def workflow_weight(self, name: str, version: int) -> float:
        """Tell which share of a workflow's runs a version gets, 0 to 1."""
        return self._graphs.weight(name, version)

    # Runs

    def pick_workflow(self, name: str, version: int | None = None) -> Graph:
        """Give the version that the next run goes to, which the split decides."""
        return self._graphs.pick(name, version)

    def start_run(self, graph: Graph, inputs: Values, *, options: RunOptions | None = None) -> Run:
        """Begin a run of a graph (see `pick_workflow`). The inputs have been validated."""
        self._refuse_if_draining()
        run = self._calls.begin(graph, inputs, options or RunOptions())
        self._history.add(run)
        return run

    def runs(self) -> list[Run]:
        """List the runs that the history holds, the newest first."""
        return self._history.runs()

    def run(self, run_id: str) -> Run:
        """Give one; raises UnknownRun."""
        return self._history.get(run_id)

    async def predict(
        self,
        model: str,
        inputs: Values,
        params: Values,
        *,
        version: int | None = None,
        sink: Sink | None = None,
        options: RunOptions | None = None,
        meter: Meter | None = None,
    ) -> Values:
        """Call one model without a graph; chunks go to the sink as they come.

        The meter is told of a call that succeeds; a caller that is cancelled cancels it. Raises
        what the model raises, and DeadlineExceeded.
        """
        self._refuse_if_draining()
        options = options or RunOptions()
        call_options = options.to_call_options(self._now())
        call, meter = ModelCall(model, version), meter or Meter()
        try:
            with options.time_limit(self._calls.limits):
                return await self._calls.call_model(
                    call, inputs, params, sink=sink, options=call_options, meter=meter
                )
        except TimeoutError:
            raise DeadlineExceeded(f"No answer within {options.timeout_s} s.") from None

    # Watching

    def snapshot(self) -> Iterable[Series]:
        """Give every series, those read from the pools as they stand included."""
        yield from self.stats.snapshot()
        for pool in self._pools:
            yield from pool_series(pool)

    def check(self) -> None:
        """Assert every pool's invariant."""
        for pool in self._pools:
            pool.check()
