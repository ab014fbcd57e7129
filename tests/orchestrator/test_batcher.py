"""The pure decision: which tasks go now, or how long to wait."""

from __future__ import annotations

import pytest

from torchloom.batcher import Arrivals, Go, Wait, decide
from torchloom.policy import BatchPolicy
from torchloom.step_cost import StepCost


NOW = 100.0


def _cost(fixed_s: float = 0.010, per_task_s: float = 0.001) -> StepCost:
    cost = StepCost()
    for size in (1, 2, 4, 8):
        cost.observe(size, fixed_s + per_task_s * size)
    return cost


def _arrivals(gap_s: float | None, last: float = NOW) -> Arrivals:
    arrivals = Arrivals()
    if gap_s is not None:
        arrivals.observe(last - gap_s)
    arrivals.observe(last)
    return arrivals


def _decide(
    queued: int,
    *,
    room: int = 8,
    oldest_at: float = NOW,
    policy: BatchPolicy | None = None,
    cost: StepCost | None = None,
    arrivals: Arrivals | None = None,
) -> Go | Wait:
    return decide(
        queued=queued,
        room=room,
        oldest_at=oldest_at,
        now=NOW,
        policy=policy or BatchPolicy(),
        cost=_cost() if cost is None else cost,
        arrivals=_arrivals(0.001) if arrivals is None else arrivals,
    )


def test_sends_no_more_than_there_is_room_for() -> None:
    """The replica's room, the user's size and what is large enough bound the batch."""
    assert _decide(100, room=8) == Go(8)
    assert _decide(100, room=64, policy=BatchPolicy(max_size=16)) == Go(16)
    assert _decide(100, room=64, cost=_cost(0.010, 0.010)) == Go(19)


@pytest.mark.parametrize(
    ("policy", "cost", "arrivals"),
    [
        (BatchPolicy(max_wait_s=0.0), _cost(), _arrivals(0.001)),
        (BatchPolicy(), StepCost(), _arrivals(0.001)),
        (BatchPolicy(), _cost(), _arrivals(None)),
        (BatchPolicy(max_wait_s=9.0), StepCost(), _arrivals(0.001)),
    ],
)
def test_goes_at_once_while_it_cannot_know_better(
    policy: BatchPolicy, cost: StepCost, arrivals: Arrivals
) -> None:
    """Told not to wait, or without knowledge of costs or arrivals, it does not wait."""
    assert _decide(2, policy=policy, cost=cost, arrivals=arrivals) == Go(2)


def test_does_not_wait_for_a_lone_caller() -> None:
    """One who asks again only after each answer leaves gaps as long as a step."""
    assert _decide(1, arrivals=_arrivals(0.011)) == Go(1)


def test_waits_in_a_burst_for_no_longer_than_it_is_worth() -> None:
    """While tasks come close upon each other, it waits two gaps, at most the fixed cost."""
    decision = _decide(2, arrivals=_arrivals(0.002))
    assert isinstance(decision, Wait)
    assert decision.seconds == pytest.approx(0.004)
    slow = _decide(1, arrivals=_arrivals(0.009))
    assert isinstance(slow, Wait)
    assert slow.seconds == pytest.approx(0.010)


def test_does_not_wait_when_those_held_up_are_many() -> None:
    """All that wait are held up by each further gap: what is won must be more than that."""
    assert _decide(6, arrivals=_arrivals(0.002)) == Go(6)


def test_goes_when_the_burst_is_over() -> None:
    """When nothing came for two gaps, or the first has waited enough, what is there goes."""
    assert _decide(2, arrivals=_arrivals(0.002, last=NOW - 0.005)) == Go(2)
    assert _decide(2, oldest_at=NOW - 0.011, arrivals=_arrivals(0.002)) == Go(2)


def test_never_waits_beyond_what_the_user_allows() -> None:
    """`max_wait_s` bounds the wait of the first task."""
    decision = _decide(2, policy=BatchPolicy(max_wait_s=0.001), arrivals=_arrivals(0.002))
    assert isinstance(decision, Wait)
    assert decision.seconds == pytest.approx(0.001)


def test_follows_the_gaps_between_arrivals() -> None:
    """The mean gap moves with the newest ones."""
    arrivals = Arrivals()
    arrivals.observe(0.0)
    assert arrivals.mean_gap_s is None
    arrivals.observe(1.0)
    assert arrivals.mean_gap_s == 1.0
    arrivals.observe(1.5)
    assert arrivals.mean_gap_s == pytest.approx(0.9)
