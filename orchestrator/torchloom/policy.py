"""Frozen limits that users set: batching, queue, retry, cache, replicas.

Knows no clock and no state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How many tasks go together, and how long the first may wait for more.

    None means: learned from measured latency. `max_size` never exceeds what the engine holds.
    """

    max_size: int | None = None
    max_wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """How many tasks may wait, and what happens to the next one: refused, or made to wait."""

    max_size: int = 1000
    overflow: Literal["reject", "wait"] = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaPolicy:
    """How many workers each device runs: `min`, and up to `max` as the load asks for them.

    One more is started when tasks have waited for `wait_s` that no worker had room for. One is
    taken away when for `idle_s` the others would have been enough; with `min` 0 the last one too,
    and the next task loads the model again. A `max` below `min` counts as `min`.
    """

    min: int = 1
    max: int = 1
    wait_s: float = 5.0
    idle_s: float = 300.0

    @property
    def is_elastic(self) -> bool:
        """Tell whether their number follows the load."""
        return self.max > self.min

    def clamp(self, count: int) -> int:
        """Give the number within the bounds that is nearest."""
        return max(self.min, min(count, self.max))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """What holds for the sessions of a model whose engine keeps something between their tasks.

    So many may be open at once, whichever workers have them, and of each so many tasks may wait
    behind the one in hand (None: as many as the model's queue takes). One without a task in hand
    ends once it has been idle for `max_idle_s`, or open for `max_life_s`; 0: never. Tasks that name
    none are given one, whose name begins with `prefix`.
    """

    max_open: int = 1
    max_waiting: int | None = None
    max_idle_s: float = 0.0
    max_life_s: float = 0.0
    prefix: str = ""


#: Names of what a retry may answer to.
RetryCause = Literal["failed", "worker_died", "timeout", "queue_full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a node is tried in all, and for which causes. The wait doubles: backoff_s · 2ⁿ."""

    attempts: int = 1
    backoff_s: float = 0.0
    on: tuple[RetryCause, ...] = ("failed", "worker_died", "timeout", "queue_full")


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How long a result may be reused for identical inputs."""

    ttl_s: float = 300.0
