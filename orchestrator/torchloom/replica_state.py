"""Where a replica is, what may follow what, and a picture of one. Knows no worker and no pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from torchloom.code_status import CodeStatus


if TYPE_CHECKING:
    from torchloom.replica import Replica


class ReplicaState(StrEnum):
    """Where a replica is."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    DRAINING = "draining"
    STOPPED = "stopped"


#: What the replicas of a model version come to, taken together. `empty`: there are to be none.
FleetState = Literal["loading", "ready", "degraded", "failed", "evicted", "empty"]


#: What may follow what. WAITING: the worker has died; it is started again after a while, but not
#: one that has never been ready: that is given up.
TRANSITIONS: Mapping[ReplicaState, frozenset[ReplicaState]] = {
    ReplicaState.STARTING: frozenset(
        {ReplicaState.READY, ReplicaState.WAITING, ReplicaState.STOPPED}
    ),
    ReplicaState.READY: frozenset(
        {ReplicaState.WAITING, ReplicaState.DRAINING, ReplicaState.STOPPED}
    ),
    ReplicaState.WAITING: frozenset({ReplicaState.STARTING, ReplicaState.STOPPED}),
    ReplicaState.DRAINING: frozenset({ReplicaState.STOPPED}),
    ReplicaState.STOPPED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """One replica as it stands. `notes` is what its engine says of itself, `code` of its code."""

    device: str
    state: str
    pid: int | None
    in_flight: int
    max_tasks: int
    restarts: int
    load_s: float
    memory_bytes: int
    error: str | None
    notes: tuple[str, ...] = ()
    code: tuple[CodeStatus, ...] = ()

    @classmethod
    def of(cls, replica: Replica) -> ReplicaStatus:
        """Take a picture."""
        return cls(
            device=replica.device,
            state=replica.state.value,
            pid=replica.pid,
            in_flight=len(replica.holding.tasks),
            max_tasks=replica.holding.room.max_tasks,
            restarts=replica.restarts,
            load_s=replica.load_s,
            memory_bytes=replica.memory_bytes,
            error=replica.error.message if replica.error else None,
            notes=(*replica.notes, *replica.telling.notes),
            code=replica.code,
        )
