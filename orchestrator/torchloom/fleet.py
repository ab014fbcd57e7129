"""Fleet: the replicas of one model version: started, taken away, evicted, and loaded again.

Knows no queue: it is told when tasks wait for a model that was evicted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.errors import NotServing, TorchLoomError, WorkerDied
from torchloom.executor import Executor
from torchloom.memory import Memory, Tenant
from torchloom.owner import Owner
from torchloom.placement import total_of
from torchloom.policy import ReplicaPolicy
from torchloom.replica import Replica
from torchloom.replica_state import FleetState, ReplicaState
from torchloom.session import Sessions
from torchloom.stats import Stats


class FleetOwner(Owner, Tenant, Protocol):
    """What a fleet asks and tells its pool."""

    sessions: Sessions

    def on_lost(self, error: TorchLoomError) -> None:
        """Fail the tasks that wait: no worker will come for them."""
        ...

    def on_leaving(self, replica: Replica) -> None:
        """Let go of what a replica has kept: it is being taken away."""
        ...


class Fleet:
    """The replicas of one model version. One change of their number at a time."""

    def __init__(
        self,
        deployment: Deployment,
        executor: Executor,
        owner: FleetOwner,
        stats: Stats,
        *,
        now: Callable[[], float],
        memory: Memory,
    ) -> None:
        self.replicas: list[Replica] = []
        self.is_evicted = False
        #: What every worker has been told, and each that starts is told.
        self.settings: dict[str, object] = {}
        self._deployment = deployment
        self._executor = executor
        self._owner = owner
        self._stats = stats
        self._now = now
        self._memory = memory
        self._policy = deployment.replicas
        #: What a worker on a device has held, for the next one there.
        self._measured: dict[Device, int] = {}
        self._scaling = asyncio.Lock()
        self._reload: asyncio.Task[None] | None = None
        #: Workers that wait for leave to load what they have fetched.
        self._claims: set[asyncio.Task[None]] = set()
        self._is_patient = False

    @property
    def is_changing(self) -> bool:
        """Tell whether replicas are being started or taken away."""
        return self._scaling.locked()

    @property
    def is_empty(self) -> bool:
        """Tell whether there are no replicas because none are wanted."""
        return not self.replicas and not self._policy.min

    def require_replicas(self) -> None:
        """Raise NotServing where none are wanted."""
        if self.is_empty:
            raise self._no_replica()

    def _no_replica(self) -> NotServing:
        message = f"Model {self._deployment.label!r} has no replica: give it one, or more."
        return NotServing(message, retry_after_s=1.0)

    @property
    def state(self) -> FleetState:
        """Sum up the replicas."""
        if self.is_evicted:
            return "evicted"
        if self.is_empty:
            return "empty"
        states = [replica.state for replica in self.replicas]
        num_ready = states.count(ReplicaState.READY)
        if states and num_ready == len(states):
            return "ready"
        if num_ready:
            return "degraded"
        return "failed" if ReplicaState.WAITING in states else "loading"

    def held_memory(self) -> dict[str, int]:
        """Give the bytes that its workers hold, or are about to, by place."""
        places = [(self._memory.place_of(each.device), each) for each in self.replicas]
        return total_of([{place: each.memory_bytes} for place, each in places])

    async def scale(self, policy: ReplicaPolicy, *, is_patient: bool = False) -> None:
        """Bring every device to `policy.min` replicas; those taken away drain first.

        Raises OutOfMemory before any is started; with whatever else keeps one from loading, all
        that were added are undone. A patient caller waits for memory that is in use. With none
        left, what waits is lost.
        """
        async with self._scaling:
            await self._scale(policy, is_patient=is_patient)
        if self.is_empty:
            self._owner.on_lost(self._no_replica())

    async def _scale(self, policy: ReplicaPolicy, *, is_patient: bool) -> None:
        added = []
        for device in self._deployment.devices:
            have = [r for r in self.replicas if r.wanted_device == device]
            added += [self._new_replica(device) for _ in range(policy.min - len(have))]
            # Those that keep the fewest sessions go.
            have.sort(key=self._owner.sessions.count_at, reverse=True)
            for replica in have[policy.min :]:
                await self._retire(replica)
        places = [(self._memory.place_of(each.device), each.memory_bytes) for each in added]
        wanted = total_of([{place: count} for place, count in places])
        await self._memory.make_room(self._owner, wanted, is_patient=is_patient)
        self.replicas += added
        was_evicted, self.is_evicted = self.is_evicted, False
        self._is_patient = is_patient
        is_up = False
        try:
            await self._start(added)
            self._policy = policy
            is_up = True
        finally:
            if not is_up:
                await self._undo(added)
                self.is_evicted = was_evicted

    async def _start(self, added: Sequence[Replica]) -> None:
        """Start replicas; raise the first error of any, also that they hold more than there is."""
        try:
            async with asyncio.TaskGroup() as group:
                for replica in added:
                    group.create_task(replica.start())
        except* TorchLoomError as failures:
            raise failures.exceptions[0] from None
        for replica in added:
            self._measured[replica.wanted_device] = replica.memory_bytes
        await self._memory.make_room(self._owner, {})

    async def _undo(self, added: Sequence[Replica]) -> None:
        try:
            await asyncio.gather(*(replica.stop() for replica in added))
        finally:
            self.replicas = [r for r in self.replicas if r not in added]
            for replica in added:
                self._owner.on_leaving(replica)
            self._memory.poke()
            self._owner.on_room()

    def _new_replica(self, device: Device) -> Replica:
        replica = Replica(
            self._deployment,
            device,
            self._executor,
            self._owner,
            self._stats,
            now=self._now,
            on_claim=self._on_claim,
            settings=self.settings,
        )
        replica.memory_bytes = self._measured.get(device, replica.memory_bytes)
        return replica

    async def apply_setting(self, key: str, value: object) -> None:
        """Tell every worker a setting, now and whenever one starts; None takes it back.

        An evicted model is loaded for it. Raises what any engine raises, and NotServing, with
        every worker as it was before; one that ends meanwhile is told when it starts again.
        """
        async with self._scaling:
            if self.is_evicted:
                await self._scale(self._policy, is_patient=True)
            before = dict(self.settings)
            self.settings[key] = value
            try:
                await self._tell_all(key, value)
            except TorchLoomError:
                await self._take_back(key, before)
                raise

    async def _tell_all(self, key: str, value: object) -> None:
        """Tell the workers that are ready; raise the first error of any."""
        ready = [each for each in self.replicas if each.state is ReplicaState.READY]
        if not ready:
            message = f"No worker of {self._deployment.label!r} is ready at present."
            raise NotServing(message, retry_after_s=1.0)
        replies = await asyncio.gather(
            *(each.telling.tell(key, value) for each in ready), return_exceptions=True
        )
        errors = [each for each in replies if isinstance(each, BaseException)]
        for error in errors:
            if not isinstance(error, WorkerDied):
                raise error

    async def _take_back(self, key: str, before: Mapping[str, object]) -> None:
        """Let a setting be what it was, here and for those that have taken it."""
        self.settings.clear()
        self.settings.update(before)
        ready = [each for each in self.replicas if each.state is ReplicaState.READY]
        value = before.get(key)
        replies = (each.telling.tell(key, value) for each in ready)
        await asyncio.gather(*replies, return_exceptions=True)

    def _on_claim(self, replica: Replica, count: int) -> None:
        claim = asyncio.get_running_loop().create_task(self._settle_claim(replica, count))
        self._claims.add(claim)
        claim.add_done_callback(self._claims.discard)

    async def _settle_claim(self, replica: Replica, count: int) -> None:
        """Let a worker load if there is room; one whose measure is known has its room already."""
        if replica.wanted_device in self._measured:
            replica.grant(replica.memory_bytes)
            return
        wanted = {self._memory.place_of(replica.device): count}
        try:
            await self._memory.make_room(self._owner, wanted, is_patient=self._is_patient)
        except TorchLoomError as error:
            replica.deny(error)
        else:
            replica.grant(count)

    async def _retire(self, replica: Replica) -> None:
        replica.drain()
        self._owner.on_leaving(replica)
        self._owner.on_room()  # tasks that hint at its device may now go elsewhere
        await replica.wait_empty()
        await replica.stop()
        self.replicas.remove(replica)
        self._memory.poke()

    async def evict(self) -> None:
        """End every worker; the next task loads the model again.

        The caller has seen that nothing is in flight and nothing is changing; from the first moment
        on, no task gets in.
        """
        async with self._scaling:
            self.is_evicted = True
            for replica in self.replicas:
                replica.drain()
            await asyncio.gather(*(replica.stop() for replica in self.replicas))
            self.replicas = []

    def wake(self) -> None:
        """Load an evicted model again, since tasks wait for it; returns at once."""
        if self._reload is None or self._reload.done():
            self._reload = asyncio.get_running_loop().create_task(self._load_again())

    async def _load_again(self) -> None:
        try:
            await self.scale(self._policy, is_patient=True)
        except TorchLoomError as error:
            self._owner.on_lost(error)

    async def stop(self, grace_s: float) -> None:
        """End every worker, and whatever was about to start one."""
        if self._reload is not None:
            self._reload.cancel()
            await asyncio.wait([self._reload])
        await asyncio.gather(*(replica.stop(grace_s) for replica in self.replicas))
