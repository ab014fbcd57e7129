"""RunBench: runs of graphs over calls that the test answers one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from loom_fakes.clock import ManualClock
from loom_fakes.scripted import until
from torchloom.cache import ResultCache, Sink
from torchloom.engine import Values
from torchloom.graph import Graph, ModelCall, WorkflowCall
from torchloom.run import Run
from torchloom.run_options import CallOptions, RunOptions
from torchloom.stats import Stats
from torchloom.time_limit import TimeLimits
from torchloom.timings import Meter


class OpenCall:
    """A call that the test answers."""

    def __init__(self, model: str, inputs: Values, sink: Sink | None, options: CallOptions) -> None:
        self.model = model
        self.inputs = inputs
        self.sink = sink
        self.options = options
        self.answer: asyncio.Future[Values] = asyncio.get_running_loop().create_future()


class OpenCalls:
    """Keeps calls until the test answers them."""

    def __init__(self) -> None:
        self.calls: list[OpenCall] = []
        self.limits = TimeLimits()

    async def call_model(
        self,
        call: ModelCall,
        inputs: Values,
        _: Values,
        *,
        sink: Sink | None,
        options: CallOptions,
        meter: Meter,
    ) -> Values:
        """Wait for the test's answer."""
        self.calls.append(OpenCall(call.model, inputs, sink, options))
        outputs = await self.calls[-1].answer
        meter.add(0.25, 0.5)
        return outputs

    async def call_workflow(
        self, call: WorkflowCall, inputs: Values, *, options: CallOptions, meter: Meter
    ) -> Values:
        """Wait for the test's answer."""
        self.calls.append(OpenCall(call.workflow, inputs, None, options))
        outputs = await self.calls[-1].answer
        meter.count(call.workflow, outputs.get("usage"))
        return outputs

    def open(self, model: str) -> list[OpenCall]:
        """Give the calls of a model that are not answered."""
        return [call for call in self.calls if call.model == model and not call.answer.done()]

    async def take(self, model: str) -> OpenCall:
        """Give the open call of a model, once there is one."""
        await until(lambda: bool(self.open(model)))
        return self.open(model)[0]

    async def answer(self, model: str, **outputs: object) -> None:
        """Answer the open call of a model."""
        (await self.take(model)).answer.set_result(outputs)

    async def fail(self, model: str, error: Exception) -> None:
        """Fail the open call of a model."""
        (await self.take(model)).answer.set_exception(error)


class RunBench:
    """Starts runs over calls that the test answers."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.caller = OpenCalls()
        self.stats = Stats()
        self.cache = ResultCache(now=clock)

    def make(self, graph: Graph, inputs: Values | None = None, **options: object) -> Run:
        """Make a run that has not begun."""
        return Run(
            graph,
            inputs or {},
            options=RunOptions(**options),  # type: ignore[arg-type]  # tests give any
            caller=self.caller,
            cache=self.cache,
            stats=self.stats,
            now=self.clock,
        )

    def start(self, graph: Graph, inputs: Values | None = None, **options: object) -> Run:
        """Begin a run."""
        run = self.make(graph, inputs, **options)
        run.start()
        return run

    def series(self) -> dict[tuple[str, ...], float]:
        """Give every series by its name and labels."""
        return {(s.metric.name, *s.labels): s.value for s in self.stats.snapshot()}


async def read_events(run: Run, after: int = 0) -> list[tuple[int, str, Mapping[str, object]]]:
    """Give every event of a run above an id, to its end."""
    return [(event.id, event.type, event.data) async for event in run.events(after)]
