"""The pure decision which tasks go now, or how long to wait. Knows no clock and no replica.

A replica that is idle gets what waits at once, with one exception: while tasks are arriving in a
burst, so close to each other that the step's fixed cost outweighs the wait, the batch may still
grow.
"""

from __future__ import annotations

import msgspec

from torchloom.policy import BatchPolicy
from torchloom.step_cost import StepCost


#: Weight of the newest gap between arrivals in their running mean.
_NEW_GAP = 0.2

#: A burst is over when nothing came for this many mean gaps.
_GAPS_UNTIL_OVER = 2.0


class Go(msgspec.Struct, frozen=True):
    """Send this many tasks now."""

    size: int


class Wait(msgspec.Struct, frozen=True):
    """Look again after this many seconds, or when a task arrives."""

    seconds: float


class Arrivals:
    """The running mean of the gaps between arrivals."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.mean_gap_s: float | None = None

    def observe(self, now: float) -> None:
        """Take an arrival into account."""
        if self.last is not None:
            gap = now - self.last
            old = gap if self.mean_gap_s is None else self.mean_gap_s
            self.mean_gap_s = old + _NEW_GAP * (gap - old)
        self.last = now


def decide(
    *,
    queued: int,
    room: int,
    oldest_at: float,
    now: float,
    policy: BatchPolicy,
    cost: StepCost,
    arrivals: Arrivals,
    must_be_full: bool = False,
) -> Go | Wait | None:
    """Decide for one replica with `room` free places, while `queued` tasks (at least one) wait.

    None, where only a full batch goes and this is none: look again when a step ends or a task
    arrives.

    `oldest_at` is when the first of them came. Never waits beyond `policy.max_wait_s`, nor for a
    lone caller: one who sends the next request only after the last answer leaves gaps as long as a
    step.
    """
    limit = min(room, policy.max_size or cost.enough(room))
    if queued >= limit:
        return Go(limit)
    if must_be_full:
        return None
    line = cost.line()
    if policy.max_wait_s == 0.0 or line is None or arrivals.mean_gap_s is None:
        return Go(queued)
    fixed_s, gap_s = line[0], arrivals.mean_gap_s
    bound_s = fixed_s if policy.max_wait_s is None else policy.max_wait_s
    # All that wait are held up by one gap; what is won is the fixed cost of one more step.
    if gap_s * queued >= fixed_s:
        return Go(queued)
    until = min(
        oldest_at + bound_s,
        (arrivals.last if arrivals.last is not None else now) + _GAPS_UNTIL_OVER * gap_s,
    )
    return Wait(until - now) if until > now else Go(queued)
