"""Autoscaler: watches how loaded a fleet is, and has a replica more or less made of it.

One change at a time, and the time that leads to the next counts anew after each. Decides nothing
itself (see `scaling.py`), and knows neither workers nor memory: a fleet that has no room says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Protocol

from torchloom.backoff import Backoff
from torchloom.batcher import Wait
from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.errors import TorchLoomError
from torchloom.replica import Replica
from torchloom.replica_state import ReplicaState
from torchloom.scaling import Change, Standing, decide
from torchloom.stats import Stats


if TYPE_CHECKING:
    from torchloom.fleet import Fleet


_log = logging.getLogger(__name__)

#: A timer that rings this much too late is left as it is: one is not set anew for each task.
_SLACK_S = 0.05


class Loaded(Protocol):
    """Whose tasks a fleet serves."""

    @property
    def can_serve(self) -> bool:
        """Tell whether new tasks belong here."""
        ...

    @property
    def is_wanted(self) -> bool:
        """Tell whether tasks wait."""
        ...

    @property
    def pressure(self) -> Collection[str]:
        """Give the hints of tasks that wait though no replica will take them; "" is no hint."""
        ...


class Autoscaler:
    """Lets the number of a fleet's replicas follow the load, between the bounds of its policy.

    `look` is told of every turn of tasks, and is cheap. A start that fails is tried again after
    growing waits; `error` says why, until one succeeds.
    """

    def __init__(
        self,
        fleet: Fleet,
        owner: Loaded,
        deployment: Deployment,
        stats: Stats,
        *,
        now: Callable[[], float],
    ) -> None:
        self.error: TorchLoomError | None = None
        self._fleet = fleet
        self._owner = owner
        self._deployment = deployment
        self._stats = stats
        self._now = now
        self._pressed_since: float | None = None
        self._spare_since: float | None = None
        self._avoided: set[Device] = set()
        self._is_held = False
        self._backoff = Backoff(self._let_go)
        self._timer: asyncio.TimerHandle | None = None
        self._change: asyncio.Task[None] | None = None
        self._is_growing = False
        self._is_over = False

    def look(self) -> None:
        """Take note of how things stand, and begin what is due."""
        policy = self._fleet.policy
        if not policy.is_elastic:
            return
        if not self._can_change():
            self._pressed_since = self._spare_since = None
            return
        now = self._now()
        hints = () if self._is_held else self._owner.pressure
        is_spare = not self._owner.is_wanted and _is_spare(self._fleet.replicas)
        self._pressed_since = _begin(self._pressed_since, now, is_so=bool(hints))
        self._spare_since = _begin(self._spare_since, now, is_so=is_spare)
        if self._pressed_since is None and self._spare_since is None:
            return
        standing = Standing(
            counts=self._fleet.counts(),
            pressed_s=None if self._pressed_since is None else now - self._pressed_since,
            spare_s=None if self._spare_since is None else now - self._spare_since,
            hints=hints,
            avoided=self._avoided,
        )
        due = decide(standing, policy)
        if isinstance(due, Wait):
            self._look_in(due.seconds)
        elif due is not None:
            self._start(due)

    def _can_change(self) -> bool:
        """Tell whether it is time for a decision: all that there is serves, and nothing changes."""
        if self._change is not None or self._fleet.is_changing or self._is_over:
            return False
        replicas = self._fleet.replicas
        is_sound = all(each.state is ReplicaState.READY for each in replicas)
        return bool(replicas) and is_sound and self._owner.can_serve

    def _look_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds + _SLACK_S:
                return
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.look()

    def give_way(self) -> None:
        """Undo a replica that is being started for the load: somebody else says how many.

        What has failed before is forgotten with the bounds that it was for.
        """
        self.error = None
        if self._is_growing:
            self._cancel()

    async def stop(self) -> None:
        """Change nothing any more; returns when what had begun is over."""
        self._is_over = True
        self._backoff.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._change is not None:
            self._cancel()
            await asyncio.wait([self._change])

    def _cancel(self) -> None:
        # Once: a second time it would interrupt the undoing.
        if self._change is not None and not self._change.cancelling():
            self._change.cancel()

    def _start(self, change: Change) -> None:
        self._pressed_since = self._spare_since = None
        self._is_growing = change.by > 0
        making = self._grow if self._is_growing else self._shrink
        self._change = asyncio.get_running_loop().create_task(making(change.device))
        self._change.add_done_callback(self._end)

    def _end(self, _: asyncio.Task[None]) -> None:
        self._change, self._is_growing = None, False
        self.look()

    async def _shrink(self, device: Device) -> None:
        if await self._fleet.shrink(device):
            self._count("down", "one replica less on %s: the others were enough", device)

    async def _grow(self, device: Device) -> None:
        try:
            is_new = await self._fleet.grow(device)
        except TorchLoomError as error:
            self.error = error
            self._avoided.add(device)
            self._is_held = True
            self._backoff.schedule()
            self._count("failed", "no further replica on %s: %s", device, error)
            return
        self.error = None
        self._avoided.clear()
        self._backoff.forgive()
        if is_new:
            self._count("up", "one more replica on %s, for tasks had to wait", device)

    def _let_go(self) -> None:
        self._is_held = False
        self.look()

    def _count(self, change: str, text: str, *about: object) -> None:
        labels = (self._deployment.name, str(self._deployment.version), change)
        self._stats.counter("scalings", *labels).add()
        level = logging.WARNING if change == "failed" else logging.INFO
        _log.log(level, "%s: " + text, self._deployment.label, *about)


def _begin(since: float | None, now: float, *, is_so: bool) -> float | None:
    """Give since when it has been so, if it is."""
    if not is_so:
        return None
    return now if since is None else since


def _is_spare(replicas: Collection[Replica]) -> bool:
    """Tell whether one replica less would hold all that is in flight."""
    return sum(_used(replicas)) <= len(replicas) - 1


def _used(replicas: Iterable[Replica]) -> Iterable[float]:
    """Give how much of each replica is in use, 0 to 1: of one that steps a batch, all."""
    for each in replicas:
        if each.is_idle:
            yield 0.0
        elif each.holding.room.is_continuous and each.credits:
            yield 1.0 - each.credits / each.holding.room.max_tasks
        else:
            yield 1.0
