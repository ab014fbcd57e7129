"""Choice: which replica is given tasks next, and which tasks it may take. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from torchloom.batcher import Arrivals, Go, Wait, decide
from torchloom.device import is_on
from torchloom.policy import BatchPolicy, ReplicaPolicy
from torchloom.queue import TaskQueue
from torchloom.replica import Replica
from torchloom.replica_state import ReplicaState
from torchloom.step_cost import StepCost
from torchloom.task import Task


#: The hint of tasks that nobody may take as yet: their session waits for a replica.
UNPLACED = "@"


def hint_of(replica: Replica) -> str:
    """Give the hint of the tasks that this replica alone may take."""
    return f"{UNPLACED}{id(replica)}"


class Staff(Protocol):
    """The replicas that share a queue, and how many there may be."""

    @property
    def replicas(self) -> Sequence[Replica]:
        """Give those that there are."""
        ...

    @property
    def policy(self) -> ReplicaPolicy:
        """Give the bounds of their number."""
        ...


def roomiest(staff: Staff, passed: Collection[Replica]) -> Replica | None:
    """Give the replica with the most room, but for those passed over; None where none has any.

    One that stands idle goes before one that can only be sent a batch ahead. Ahead of short steps
    only one that is alone, and stays so, is sent anything: a step may take longer than it was
    expected to, and what waits behind it would miss whoever else has room.
    """
    is_alone = len(staff.replicas) == 1 and not staff.policy.is_elastic
    if is_alone:
        (only,) = staff.replicas
        return only if only not in passed and only.credits else None
    free = [
        each
        for each in staff.replicas
        if each.credits and each not in passed and not each.holding.turns.takes_full
    ]
    return max(free, key=_roominess, default=None)


def _roominess(replica: Replica) -> tuple[bool, int]:
    return replica.holding.room.is_continuous or replica.is_idle, replica.credits


def hints_for(replica: Replica, replicas: Iterable[Replica], hints: Iterable[str]) -> list[str]:
    """Name the hints of the tasks that a replica may take.

    Those for itself and for its device, those without a hint, and those for a device that nobody
    serves at present.
    """
    if list(hints) == [""]:
        return [""]
    own = hint_of(replica)
    up = {each.device for each in replicas if _is_up(each)}
    return [
        hint
        for hint in hints
        if (hint == own if hint.startswith(UNPLACED) else _is_for(hint, replica.device, up))
    ]


def wishes(hints: Iterable[str]) -> set[str]:
    """Name the devices that tasks of these hints wish for; "" is any, as of a session's tasks."""
    return {"" if hint.startswith(UNPLACED) else hint for hint in hints}


def _is_for(hint: str, device: str, up: Collection[str]) -> bool:
    return not hint or is_on(hint, device) or not any(is_on(hint, each) for each in up)


def how_many(
    replica: Replica,
    first: Task,
    *,
    queued: int,
    now: float,
    policy: BatchPolicy,
    cost: StepCost,
    arrivals: Arrivals,
) -> int | Wait | None:
    """Say how many of the `queued` tasks that a replica may take it gets now: see `batcher.py`.

    None: nothing, before a step ends or a task arrives. One that has been there when a worker died,
    as `first`, goes by itself.
    """
    if first.deaths:
        return 1
    if replica.holding.room.is_continuous:
        return min(replica.credits, queued)
    decision = decide(
        queued=queued,
        room=replica.credits,
        oldest_at=first.queued_at,
        now=now,
        policy=policy,
        cost=cost,
        arrivals=arrivals,
        must_be_full=not (replica.is_idle or replica.holding.turns.takes_ahead),
    )
    return decision.size if isinstance(decision, Go) else decision


def has_missed(replica: Replica, replicas: Sequence[Replica], queue: TaskQueue) -> bool:
    """Tell whether a replica has room beside a task that it may take, which never stays so.

    A place that only a full batch may take may well be free beside a few.
    """
    hints = hints_for(replica, replicas, queue.hints)
    first = queue.peek(hints) if replica.credits and not replica.holding.turns.takes_full else None
    return first is not None and (not first.deaths or replica.is_idle)


def _is_up(replica: Replica) -> bool:
    """Tell whether tasks for its device should wait for it: not while a dead worker is away."""
    is_first_start = replica.state is ReplicaState.STARTING and not replica.restarts
    return is_first_start or replica.state is ReplicaState.READY
