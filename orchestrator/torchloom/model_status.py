"""ModelStatus: one model version as it stands, frozen. Knows how to change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torchloom.deployment import Deployment
from torchloom.replica_state import FleetState, ReplicaStatus


PoolState = FleetState | Literal["draining"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """The state of its pool, what waits there, and its replicas."""

    deployment: Deployment
    state: PoolState
    queue_depth: int
    weight: float
    memory_bytes: int
    replicas: tuple[ReplicaStatus, ...]
