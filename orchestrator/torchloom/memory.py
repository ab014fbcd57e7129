"""Memory: who holds how much of which device; lets workers in, evicting idle models where allowed.

Decides nothing itself (see `placement.py`), and knows neither queues nor replicas: whoever holds
memory says how much, and whether it is idle.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from torchloom.device import Device
from torchloom.errors import OutOfMemory
from torchloom.placement import Demand, Holder, choose_evicted, place_of, total_of


_log = logging.getLogger(__name__)


class Tenant(Protocol):
    """A model version that holds memory."""

    last_used_at: float

    @property
    def name(self) -> str:
        """Name the model."""
        ...

    @property
    def label(self) -> str:
        """Name model and version."""
        ...

    @property
    def is_idle(self) -> bool:
        """Tell whether it could be evicted: loaded, nothing queued, nothing in flight."""
        ...

    @property
    def is_wanted(self) -> bool:
        """Tell whether tasks wait for it."""
        ...

    def held_memory(self) -> Mapping[str, int]:
        """Give the bytes that its workers hold, or are about to, by place."""
        ...

    async def evict(self) -> None:
        """End its workers. What comes first happens before anything else can."""
        ...


class Memory:
    """The budgets of this machine's memories (bytes by place), and those who share them.

    A place without a budget is not limited. `needed` names the models that runs have yet to call.
    """

    def __init__(
        self,
        budgets: Mapping[str, int] | None = None,
        *,
        can_evict: bool = False,
        needed: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.budgets = dict(budgets or {})
        self.can_evict = can_evict
        self.needed = needed
        self._tenants: list[Tenant] = []
        self._lock = asyncio.Lock()
        #: Where somebody waits for room: is set when there may be some.
        self._changed: asyncio.Event | None = None

    def add(self, tenant: Tenant) -> None:
        """Count a model version in."""
        self._tenants.append(tenant)

    def remove(self, tenant: Tenant) -> None:
        """Count one out whose workers have ended."""
        if tenant in self._tenants:
            self._tenants.remove(tenant)
        self.poke()

    def place_of(self, device: Device | str) -> str:
        """Give the memory that a device works in."""
        return place_of(str(device), self.budgets)

    def used(self) -> dict[str, int]:
        """Add up what is held, by place."""
        return total_of([tenant.held_memory() for tenant in self._tenants])

    def poke(self) -> None:
        """Let those who wait for room look again: something is idle, or has ended."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def make_room(
        self,
        tenant: Tenant,
        wanted: Mapping[str, int],
        *,
        is_patient: bool = False,
        evicts: bool = True,
    ) -> None:
        """See to it that `wanted` fits beside what is held, evicting idle models where allowed.

        When it returns, what the caller starts without awaiting anything has its room. A patient
        caller stands for tasks that wait: where only busy models are in the way, it waits for one
        of them, as long as its tasks do. One that `evicts` nobody is content with what is free.
        Raises OutOfMemory.
        """
        while True:
            changed = self._changed = self._changed or asyncio.Event()
            try:
                async with self._lock:
                    await self._make_room(tenant, wanted, takes_needed=is_patient, evicts=evicts)
            except OutOfMemory:
                if not (is_patient and tenant.is_wanted and self._can_ever_fit(wanted)):
                    raise
            else:
                return
            await changed.wait()

    async def _make_room(
        self, tenant: Tenant, wanted: Mapping[str, int], *, takes_needed: bool, evicts: bool
    ) -> None:
        places = {*wanted, *tenant.held_memory()} & self.budgets.keys()
        for place in sorted(places):
            demand = Demand(
                label=tenant.label,
                place=place,
                bytes=wanted.get(place, 0),
                budget=self.budgets[place],
                takes_needed=takes_needed,
                evicts=evicts,
            )
            while chosen := choose_evicted(demand, self._holders(place), can_evict=self.can_evict):
                victim = next(each for each in self._tenants if each.label == chosen[0])
                _log.info("%s is evicted for %s.", victim.label, tenant.label)
                await victim.evict()

    def _can_ever_fit(self, wanted: Mapping[str, int]) -> bool:
        return self.can_evict and all(
            count <= self.budgets.get(place, count) for place, count in wanted.items()
        )

    def _holders(self, place: str) -> list[Holder]:
        needed = frozenset(self.needed())
        return [
            Holder(
                label=tenant.label,
                bytes=tenant.held_memory().get(place, 0),
                last_used_at=tenant.last_used_at,
                is_idle=tenant.is_idle,
                is_needed=tenant.name in needed,
            )
            for tenant in self._tenants
        ]
