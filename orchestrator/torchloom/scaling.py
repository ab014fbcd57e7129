"""Scaling: the pure decision whether the load asks for one replica more or one less, and where.

Knows no clock, no queue and no worker: it is given what has been seen, and says what to do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from torchloom.batcher import Wait
from torchloom.device import Device, is_on
from torchloom.policy import ReplicaPolicy


@dataclass(frozen=True, slots=True)
class Change:
    """One replica more, or one less, on a device."""

    device: Device
    by: Literal[1, -1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How many replicas each device has, and for how long, in seconds, what has been so.

    `pressed_s`: tasks have waited that no replica had room for. `spare_s`: one replica less would
    have held everything. None: that is not so at present. `hints` are of the tasks that wait;
    `avoided` are devices where the last start of one more has failed.
    """

    counts: Mapping[Device, int]
    pressed_s: float | None = None
    spare_s: float | None = None
    hints: Collection[str] = ()
    avoided: Collection[Device] = ()


def decide(standing: Standing, policy: ReplicaPolicy) -> Change | Wait | None:
    """Say what to change now, when to look again if nothing else happens, or nothing at all."""
    if standing.pressed_s is not None and (device := next_up(standing, policy)) is not None:
        return _when(policy.wait_s - standing.pressed_s, Change(device, 1))
    if standing.spare_s is not None and (device := _next_down(standing, policy)) is not None:
        return _when(policy.idle_s - standing.spare_s, Change(device, -1))
    return None


def _when(left_s: float, change: Change) -> Change | Wait:
    return Wait(left_s) if left_s > 0 else change


def next_up(standing: Standing, policy: ReplicaPolicy) -> Device | None:
    """Name the device for one more: one that waiting tasks hint at, with the fewest; or None.

    One where it has failed comes last.
    """

    def rank(device: Device) -> tuple[bool, bool, int]:
        is_wanted = any(hint and is_on(hint, str(device)) for hint in standing.hints)
        return device in standing.avoided, not is_wanted, standing.counts[device]

    may = [device for device, count in standing.counts.items() if count < policy.max]
    return min(may, key=rank, default=None)


def _next_down(standing: Standing, policy: ReplicaPolicy) -> Device | None:
    """Name the device that gives one up: the one with the most, of equals the last; or None."""
    may = [device for device, count in standing.counts.items() if count > policy.min]
    return max(reversed(may), key=lambda device: standing.counts[device], default=None)
