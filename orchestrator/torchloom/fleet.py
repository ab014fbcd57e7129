"""Fleet: the replicas of one model version: started, taken away, evicted, and loaded again.

Knows no queue: it is told when tasks wait for a model that was evicted, and its autoscaler when
more or fewer replicas would do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torchloom.autoscaler import Autoscaler, Loaded
from torchloom.backoff import Backoff
from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.errors import NotServing, OutOfMemory, TorchLoomError, WorkerDied
from torchloom.executor import Executor
from torchloom.memory import Memory, Tenant
from torchloom.owner import Owner
from torchloom.placement import total_of
from torchloom.policy import ReplicaPolicy
from torchloom.replica import Replica
from torchloom.replica_state import FleetState, ReplicaState
from torchloom.scaling import Standing, next_up
from torchloom.session import Sessions
from torchloom.stats import Stats


class FleetOwner(Owner, Tenant, Loaded, Protocol):
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
        #: The bounds of their number on each device, as they stand.
        self.policy = deployment.replicas
        self.autoscaler = Autoscaler(self, owner, deployment, stats, now=now)
        #: What a worker on a device has held, for the next one there.
        self._measured: dict[Device, int] = {}
        self._scaling = asyncio.Lock()
        self._reload: asyncio.Task[None] | None = None
        #: Workers that wait for leave to load what they have fetched.
        self._claims: set[asyncio.Task[None]] = set()
        self._is_patient = False
        self._is_further = False
        #: Are being started for the load, while the others serve.
        self._further: Sequence[Replica] = ()
        #: Why an evicted model could not be loaded again; while it refuses, nobody may try.
        self._error: TorchLoomError | None = None
        self._is_refusing = False
        self._backoff = Backoff(self._end_refusal)

    @property
    def is_changing(self) -> bool:
        """Tell whether replicas are being started or taken away."""
        return self._scaling.locked()

    @property
    def is_empty(self) -> bool:
        """Tell whether there are no replicas because none are wanted, whatever the load."""
        return not self.replicas and not self.policy.clamp(1)

    def require_replicas(self) -> None:
        """Raise NotServing where none are wanted, or none could be loaded just now."""
        if self.is_empty:
            raise self._no_replica()
        if self._is_refusing and self._error is not None:
            message = f"{self._error.message} It will be tried again in a while."
            raise NotServing(message, retry_after_s=1.0)

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
        states = [replica.state for replica in self._lasting()]
        num_ready = states.count(ReplicaState.READY)
        if states and num_ready == len(states):
            return "ready"
        if num_ready:
            return "degraded"
        return "failed" if ReplicaState.WAITING in states else "loading"

    def _lasting(self) -> list[Replica]:
        """Give the replicas that count: not one that comes for the load, nor those that go."""
        there = (each for each in self.replicas if each not in self._further)
        return [each for each in there if each.state is not ReplicaState.DRAINING]

    def counts(self) -> dict[Device, int]:
        """Count the replicas of each device."""
        return {device: len(self._on(device)) for device in self._deployment.devices}

    def _on(self, device: Device) -> list[Replica]:
        return [each for each in self.replicas if each.wanted_device == device]

    @property
    def scaling_error(self) -> str | None:
        """Say why the last replica that the load asked for could not be started."""
        error = self.autoscaler.error or self._error
        return None if error is None else error.message

    def held_memory(self) -> dict[str, int]:
        """Give the bytes that its workers hold, or are about to, by place."""
        places = [(self._memory.place_of(each.device), each) for each in self.replicas]
        return total_of([{place: each.memory_bytes} for place, each in places])

    async def scale(self, policy: ReplicaPolicy) -> None:
        """Bring every device to a number within the policy's bounds; those taken away drain first.

        Raises OutOfMemory before any is started; with whatever else keeps one from loading, all
        that were added are undone. With none left, what waits is lost.
        """
        self.autoscaler.give_way()
        async with self._scaling:
            counts = {device: policy.clamp(count) for device, count in self.counts().items()}
            await self._bring(policy, counts)
        if self.is_empty:
            self._owner.on_lost(self._no_replica())
        self.autoscaler.look()

    async def grow(self, device: Device) -> bool:
        """Start one replica more on a device; tell whether there was still need of it.

        It gets memory that is free, and no model is evicted for it. Raises what keeps it from
        loading, with everything as it was.
        """
        async with self._scaling:
            counts = self.counts()
            if counts[device] >= self.policy.max or not self.replicas:
                return False
            await self._bring(self.policy, {**counts, device: counts[device] + 1}, is_further=True)
        return True

    async def shrink(self, device: Device) -> bool:
        """Let one replica of a device end what it has, then end it; tell whether it is so.

        The last one goes only if it has nothing to do, and none while each keeps a session.
        """
        async with self._scaling:
            on = self._on(device)
            if len(on) <= self.policy.min or all(map(self._owner.sessions.count_at, on)):
                return False
            if len(self.replicas) > 1:
                await self._bring(self.policy, {**self.counts(), device: len(on) - 1})
            elif self._owner.is_wanted or not self.replicas[0].is_idle:
                return False
            else:
                await self._evict()
                self._memory.poke()
        return True

    async def _bring(
        self,
        policy: ReplicaPolicy,
        counts: Mapping[Device, int],
        *,
        is_patient: bool = False,
        is_further: bool = False,
    ) -> None:
        """Bring each device to a number of replicas, from then on under this policy.

        A patient caller waits for memory that is in use. What is `is_further` is there for the load
        alone: no model is evicted for it.
        """
        for device, count in counts.items():
            # Those that keep the fewest sessions go.
            have = sorted(self._on(device), key=self._owner.sessions.count_at, reverse=True)
            for replica in have[count:]:
                await self._retire(replica)
        missing = {device: count - len(self._on(device)) for device, count in counts.items()}
        added = [self._new_replica(d) for d, count in missing.items() for _ in range(count)]
        if added:
            self._is_patient, self._is_further = is_patient, is_further
            await self._add(added)
        self.policy = policy
        # None yet, or none any more, but the next task will have one.
        self.is_evicted = not self.replicas and not self.is_empty

    async def _add(self, added: Sequence[Replica]) -> None:
        """Start replicas where there is room; all of them, or none is left."""
        places = [(self._memory.place_of(each.device), each.memory_bytes) for each in added]
        await self._make_room(total_of([{place: count} for place, count in places]))
        self.replicas += added
        self._further = added if self._is_further else ()
        was_evicted, self.is_evicted = self.is_evicted, False
        is_up = False
        try:
            await self._start(added)
            self._error, self._is_refusing = None, False
            self._backoff.forgive()
            is_up = True
        finally:
            self._further = ()
            if not is_up:
                await self._undo(added)
                self.is_evicted = was_evicted

    async def _make_room(self, wanted: Mapping[str, int], *, is_patient: bool = True) -> None:
        await self._memory.make_room(
            self._owner,
            wanted,
            is_patient=is_patient and self._is_patient,
            evicts=not self._is_further,
        )

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
        await self._make_room({}, is_patient=False)

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
                await self._awake()
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
            await self._make_room(wanted)
        except TorchLoomError as error:
            replica.deny(error)
        else:
            replica.grant(count)

    async def _retire(self, replica: Replica) -> None:
        replica.drain()
        self._owner.on_leaving(replica)
        self._owner.on_room()  # tasks that hint at its device may now go elsewhere
        await replica.holding.wait_empty()
        await replica.stop()
        self.replicas.remove(replica)
        self._memory.poke()

    async def evict(self) -> None:
        """End every worker; the next task loads the model again.

        The caller has seen that nothing is in flight and nothing is changing; from the first moment
        on, no task gets in.
        """
        async with self._scaling:
            await self._evict()

    async def _evict(self) -> None:
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
            async with self._scaling:
                if self.is_evicted:
                    await self._awake()
        except TorchLoomError as error:
            # Memory may be free at any moment; a worker that does not load is not begun at once.
            self._error, self._is_refusing = error, not isinstance(error, OutOfMemory)
            if self._is_refusing:
                self._backoff.schedule()
            self._owner.on_lost(error)
        self.autoscaler.look()

    async def _awake(self) -> None:
        """Bring each device to its least number, and one of them to one."""
        counts = dict.fromkeys(self._deployment.devices, self.policy.min)
        if not any(counts.values()):
            first = next_up(Standing(counts=counts, hints=self._owner.pressure), self.policy)
            assert first is not None, "a model that is to have none is not evicted"
            counts[first] = 1
        await self._bring(self.policy, counts, is_patient=True)

    def _end_refusal(self) -> None:
        self._is_refusing = False

    async def stop(self, grace_s: float) -> None:
        """End every worker, and whatever was about to start one."""
        self._backoff.cancel()
        await self.autoscaler.stop()
        if self._reload is not None:
            self._reload.cancel()
            await asyncio.wait([self._reload])
        await asyncio.gather(*(replica.stop(grace_s) for replica in self.replicas))
