"""Choice: which replica is given tasks next, and which tasks it may take. Pure; knows no queue."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torchloom.device import is_on
from torchloom.replica import Replica
from torchloom.replica_state import ReplicaState


def roomiest(replicas: Iterable[Replica], passed: Collection[Replica]) -> Replica | None:
    """Give the replica with the most room, but for those passed over; None where none has any.

    One that stands idle goes before one that can only be sent a batch ahead.
    """
    free = [each for each in replicas if each.credits and each not in passed]
    return max(
        free, key=lambda each: (each.room.is_continuous or each.is_idle, each.credits), default=None
    )


def hints_for(replica: Replica, replicas: Iterable[Replica], hints: Iterable[str]) -> list[str]:
    """Name the hints of the tasks that a replica may take.

    Those for its device, those without a hint, and those for a device that nobody serves at
    present.
    """
    up = {each.device for each in replicas if _is_up(each)}
    return [
        hint
        for hint in hints
        if not hint or is_on(hint, replica.device) or not any(is_on(hint, device) for device in up)
    ]


def _is_up(replica: Replica) -> bool:
    """Tell whether tasks for its device should wait for it: not while a dead worker is away."""
    is_first_start = replica.state is ReplicaState.STARTING and not replica.restarts
    return is_first_start or replica.state is ReplicaState.READY
