"""The pure decision whether the load asks for one replica more or one less, and where."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from torchloom.batcher import Wait
from torchloom.device import Device
from torchloom.policy import ReplicaPolicy
from torchloom.scaling import Change, Standing, decide


CPU, ONE, TWO = Device("cpu"), Device("cuda", "0"), Device("cuda", "1")

POLICY = ReplicaPolicy(min=1, max=3, wait_s=5.0, idle_s=60.0)

Due = Change | Wait | None


@pytest.mark.parametrize(
    ("count", "pressed_s", "spare_s", "due"),
    [
        (1, None, None, None),
        # tasks wait
        (1, 0.0, None, Wait(5.0)),
        (1, 4.0, None, Wait(1.0)),
        (1, 5.0, None, Change(CPU, 1)),
        (2, 9.0, None, Change(CPU, 1)),
        (3, 9.0, None, None),
        # one is spare
        (3, None, 0.0, Wait(60.0)),
        (3, None, 59.5, Wait(0.5)),
        (3, None, 60.0, Change(CPU, -1)),
        (1, None, 600.0, None),
        # more than there may be: what went down while it was so
        (4, 9.0, None, None),
        (4, None, 60.0, Change(CPU, -1)),
    ],
)
def test_decides_by_count_and_time(
    count: int, pressed_s: float | None, spare_s: float | None, due: Due
) -> None:
    """One more when it has lasted `wait_s`, one less after `idle_s`, within the bounds."""
    standing = Standing(counts={CPU: count}, pressed_s=pressed_s, spare_s=spare_s)

    assert decide(standing, POLICY) == due


@pytest.mark.parametrize(
    ("policy", "pressed_s", "spare_s", "due"),
    [
        (ReplicaPolicy(min=2, max=2), 1e6, 1e6, None),
        # A `max` below `min` is none.
        (ReplicaPolicy(min=2, max=1), 1e6, 1e6, None),
        (ReplicaPolicy(min=1, max=3, wait_s=0.0), 0.0, None, Change(CPU, 1)),
        (ReplicaPolicy(min=0, max=2, idle_s=1.0), None, 1.0, Change(CPU, -1)),
    ],
)
def test_follows_the_policy(
    policy: ReplicaPolicy, pressed_s: float | None, spare_s: float | None, due: Due
) -> None:
    """A number that is fixed stays; times are the policy's."""
    standing = Standing(counts={CPU: 2}, pressed_s=pressed_s, spare_s=spare_s)

    assert decide(standing, policy) == due


@pytest.mark.parametrize(
    ("counts", "hints", "avoided", "device"),
    [
        ({CPU: 1, ONE: 1, TWO: 1}, (), (), CPU),
        ({CPU: 2, ONE: 1, TWO: 1}, (), (), ONE),
        ({CPU: 3, ONE: 3, TWO: 2}, (), (), TWO),
        ({CPU: 1, ONE: 2, TWO: 2}, ("", "cuda:1"), (), TWO),
        ({CPU: 1, ONE: 2, TWO: 1}, ("cuda",), (), TWO),
        ({CPU: 1, ONE: 3, TWO: 3}, ("cuda",), (), CPU),
        ({CPU: 1, ONE: 2, TWO: 1}, (), (CPU,), TWO),
        ({CPU: 1, ONE: 3, TWO: 3}, (), (CPU,), CPU),
    ],
)
def test_adds_where_it_helps(
    counts: Mapping[Device, int],
    hints: tuple[str, ...],
    avoided: tuple[Device, ...],
    device: Device,
) -> None:
    """Where waiting tasks hint, else where the fewest are; last where it has just failed."""
    standing = Standing(counts=counts, pressed_s=5.0, hints=hints, avoided=avoided)

    assert decide(standing, POLICY) == Change(device, 1)


@pytest.mark.parametrize(
    ("counts", "device"),
    [({CPU: 2, ONE: 2}, ONE), ({CPU: 3, ONE: 2}, CPU), ({CPU: 2, ONE: 1}, CPU)],
)
def test_takes_away_where_the_most_are(counts: Mapping[Device, int], device: Device) -> None:
    """Of equals the last; none goes below the least."""
    assert decide(Standing(counts=counts, spare_s=60.0), POLICY) == Change(device, -1)
