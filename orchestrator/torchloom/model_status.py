"""ModelStatus: one model version as it stands, frozen. Knows how to change nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torchloom.deployment import Deployment
from torchloom.policy import ReplicaPolicy
from torchloom.replica_state import FleetState, ReplicaStatus
from torchloom.setting import Settings


PoolState = FleetState | Literal["draining"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """The state of its pool, what waits there, its replicas, and what they have been told.

    `policy`: how many replicas there are to be, as it stands; `scaling_error`: why the last one
    that the load asked for could not be started. `shadow_percent`: of how many requests that other
    versions answer it is given copies.
    """

    deployment: Deployment
    state: PoolState
    queue_depth: int
    weight: float
    memory_bytes: int
    replicas: tuple[ReplicaStatus, ...]
    settings: Settings = field(default_factory=dict)
    policy: ReplicaPolicy = field(default_factory=ReplicaPolicy)
    scaling_error: str | None = None
    shadow_percent: float = 0.0
