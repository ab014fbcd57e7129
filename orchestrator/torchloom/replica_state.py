"""Where a replica is, what may follow what, and a picture of one. Knows no worker and no pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from torchloom.code_status import CodeStatus


class ReplicaState(Enum):
    """Where a replica is."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    DRAINING = "draining"
    STOPPED = "stopped"


#: What the replicas of a model version come to, taken together.
FleetState = Literal["loading", "ready", "degraded", "failed", "evicted"]


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
