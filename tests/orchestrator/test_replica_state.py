"""The states of a replica."""

from __future__ import annotations

import itertools

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import deploy
from loom_fakes.scripted import ScriptedExecutor

from torchloom.device import Device
from torchloom.replica import Owner, Replica
from torchloom.replica_state import TRANSITIONS, ReplicaState
from torchloom.stats import Stats


class _NoOwner(Owner):
    """Hears nothing: these replicas do no work."""


@pytest.mark.parametrize(
    ("old", "new"), list(itertools.product(ReplicaState, ReplicaState)), ids=lambda s: s.value
)
async def test_moves_only_as_the_table_allows(old: ReplicaState, new: ReplicaState) -> None:
    """Over all pairs: an allowed move moves, any other is a fault of ours."""
    replica = Replica(
        deploy("open_echo"),
        Device("cpu"),
        ScriptedExecutor(),
        _NoOwner(),
        Stats(),
        now=ManualClock(),
        on_claim=lambda *_: None,
    )
    replica.state = old
    if new in TRANSITIONS[old]:
        replica._move(new)
        assert replica.state is new
    else:
        with pytest.raises(AssertionError):
            replica._move(new)


def test_can_be_stopped_from_everywhere_and_never_comes_back() -> None:
    """Every replica can be stopped, and stopped is the end."""
    for state, after in TRANSITIONS.items():
        assert (ReplicaState.STOPPED in after) == (state is not ReplicaState.STOPPED)
    assert not TRANSITIONS[ReplicaState.STOPPED]
