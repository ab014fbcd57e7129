"""PoolBench: a pool over workers that the test plays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from loom_fakes.clock import ManualClock
from loom_fakes.scripted import ScriptedExecutor, ScriptedLink
from torchloom.deployment import Deployment
from torchloom.pool import Pool
from torchloom.stats import Stats
from torchloom.task import Task


class PoolBench:
    """A pool over workers that the test plays."""

    def __init__(
        self, clock: ManualClock, executor: ScriptedExecutor, deployment: Deployment
    ) -> None:
        self.clock = clock
        self.executor = executor
        self.stats = Stats()
        self.progress: list[tuple[str, str, float | None]] = []
        self.pool = Pool(
            deployment,
            executor,
            self.stats,
            now=clock,
            on_progress=lambda *what: self.progress.append(what),
        )

    @property
    def link(self) -> ScriptedLink:
        """The newest worker."""
        return self.executor.link

    @property
    def links(self) -> list[ScriptedLink]:
        """Every worker, in the order of their starts."""
        return self.executor.links

    def submit(self, *texts: str, **options: object) -> list[Task]:
        """Submit tasks, in one turn of the event loop."""
        tasks = [Task({"text": text}, {}, **options) for text in texts]  # type: ignore[arg-type]  # tests give any
        for task in tasks:
            self.pool.submit(task)
        return tasks


MakePool = Callable[..., PoolBench]


async def expect(task: Task, kind: type[Exception], message: str | None = None) -> None:
    """Wait for the error that a task ends with."""
    with pytest.raises(kind, match=message):
        await task.outputs()
