"""Service: what every route works with, made of core and packages. Knows no route and no socket."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from torchloom.errors import NotServing
from torchloom.executor import Executor
from torchloom.memory import Memory
from torchloom.orchestrator import Orchestrator
from torchloom.pool import OnProgress
from torchloom.store import Store
from torchloom_api.adapter_shelf import AdapterShelf
from torchloom_api.budget import find_budgets
from torchloom_api.input import InputChecks
from torchloom_api.key_ring import KeyRing
from torchloom_api.kserve.interface_table import InterfaceTable
from torchloom_api.machine import find_memories
from torchloom_api.metrics import MetricsPage, RequestMeter
from torchloom_api.reader import Reader
from torchloom_api.registrar import Registrar
from torchloom_api.restoration import Restoration
from torchloom_api.settings import Settings


#: States of a model in which it answers.
SERVING: Final = ("ready", "degraded", "evicted")

#: States of a model with which nothing is wrong: one with no replica is meant to have none.
_SOUND: Final = (*SERVING, "empty")


@dataclass(slots=True, kw_only=True)
class Service:
    """A server's parts. `is_started` turns true once everything that was registered serves."""

    settings: Settings
    orchestrator: Orchestrator
    registrar: Registrar
    restoration: Restoration
    adapters: AdapterShelf
    checks: InputChecks = field(default_factory=InputChecks)
    interfaces: InterfaceTable = field(default_factory=InterfaceTable)
    requests: RequestMeter = field(default_factory=RequestMeter)
    keys: KeyRing = field(default_factory=KeyRing)
    metrics: MetricsPage = field(init=False)
    is_started: bool = False
    #: When it was made, in seconds since 1970.
    created_at: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        """Point the metrics page at what it reads."""
        self.metrics = MetricsPage(
            (self.orchestrator.snapshot, self.requests.snapshot),
            readings=self.orchestrator.stats.readings,
        )

    async def start(self, files: Iterable[Path]) -> None:
        """Bring files and kept registrations into service. Raises what ends the start."""
        await self.restoration.start(files)
        await self.adapters.restore()
        self.is_started = True

    def require_started(self) -> None:
        """Refuse work until everything serves; raises NotServing."""
        if not self.is_started:
            message = "The server is starting: its models are still being loaded."
            raise NotServing(message, retry_after_s=1.0)

    def require_ready(self) -> None:
        """Refuse to be sent work while something is broken or draining; NotServing says what."""
        if self.orchestrator.is_draining:
            raise NotServing("The server is draining.", retry_after_s=1.0)
        broken = [
            f"{f.name}@{f.version}: {f.error.message}" for f in self.registrar.failed if f.is_kept
        ]
        states = [(status.deployment.label, status.state) for status in self.orchestrator.models()]
        broken += [f"{label}: {state}" for label, state in states if state not in _SOUND]
        if broken:
            message = f"Not everything that is registered serves: {'; '.join(broken)}"
            raise NotServing(message, retry_after_s=5.0)


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    keys: KeyRing | None = None,
    reader: Reader | None = None,
    executor: Executor | None = None,
    on_progress: OnProgress | None = None,
) -> AsyncIterator[Service]:
    """Make the parts of a server; at the end every run is cancelled and every worker ended."""
    budgets = find_budgets(await find_memories(), settings.memory)
    memory = Memory(budgets, can_evict=settings.evict)
    orchestrator = Orchestrator(
        executor=executor, history_size=settings.history_size, memory=memory
    )
    reader = reader or Reader(settings)
    store = Store(settings.store_folder)
    registrar = Registrar(orchestrator, store, reader, on_progress=on_progress)
    async with orchestrator:
        yield Service(
            settings=settings,
            keys=keys or KeyRing(),
            orchestrator=orchestrator,
            registrar=registrar,
            restoration=Restoration(orchestrator, store, reader, registrar),
            adapters=AdapterShelf(orchestrator, store, read_source=reader.read_source),
        )
