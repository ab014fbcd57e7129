"""Choice: which replica is given tasks next, and which tasks it may take. Pure; knows no queue."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torchloom.device import is_on
from torchloom.replica import Replica


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
    up = {each.device for each in replicas if each.is_up}
    return [
        hint
        for hint in hints
        if not hint or is_on(hint, replica.device) or not any(is_on(hint, device) for device in up)
    ]
