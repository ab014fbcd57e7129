"""Holding: what a worker has in hand, and how many more it may be given."""

from __future__ import annotations

import asyncio

from torchloom.engine import Occupancy, Room
from torchloom.holding import Holding
from torchloom.leaving import Leaving
from torchloom.task import Task
from torchloom.turns import Turns


def _make(room: Room, step_s: float = 0.0) -> Holding:
    holding = Holding(Turns(lambda _: step_s, lambda: None), Leaving(lambda: None))
    holding.room = room
    return holding


def _tasks(number: int) -> list[Task]:
    return [Task({}, {}) for _ in range(number)]


async def test_takes_a_whole_batch_when_it_has_nothing() -> None:
    """Where an engine takes batches, there is room for one, and then for none until it is over."""
    holding = _make(Room(max_tasks=4))
    one, two = _tasks(2)
    assert (holding.credits, holding.is_empty) == (4, True)
    holding.add([one, two])
    assert (holding.credits, holding.is_empty, holding.stepped) == (0, False, {one.id, two.id})
    assert holding.settle(one.id) is one
    assert holding.credits == 0
    assert holding.settle(two.id) is two
    assert (holding.credits, holding.is_empty) == (4, True)


async def test_takes_full_batches_ahead_of_short_steps() -> None:
    """They wait for their turn there; only the first of them is stepped."""
    holding = _make(Room(max_tasks=1), step_s=0.001)
    first, second = _tasks(2)
    holding.add([first])
    assert holding.credits == 1
    holding.add([second])
    assert holding.stepped == {first.id}
    holding.settle(first.id)
    assert holding.stepped == {second.id}


async def test_has_the_places_that_are_left_of_a_continuous_engine() -> None:
    """It says itself when it is full, whatever the places."""
    holding = _make(Room(max_tasks=4, is_continuous=True))
    holding.add(_tasks(3))
    assert holding.credits == 1
    holding.occupancy = Occupancy(is_full=True)
    assert holding.credits == 0


async def test_gives_nothing_beside_a_task_that_has_seen_a_worker_die() -> None:
    """It runs alone, to be found out."""
    holding = _make(Room(max_tasks=4, is_continuous=True))
    (suspect,) = _tasks(1)
    suspect.deaths = 1
    holding.add([suspect])
    assert holding.credits == 0


async def test_has_no_room_for_what_is_to_leave_before_it_has_left() -> None:
    """A cancelled task is forgotten at once, and keeps its place until the engine lets it go."""
    holding = _make(Room(max_tasks=1, is_continuous=True))
    (task,) = _tasks(1)
    holding.add([task])
    assert holding.cancel(task)
    assert not holding.cancel(task)
    assert (holding.tasks, holding.credits, holding.is_empty) == ({}, 0, False)
    holding.let_go(task.id)
    assert (holding.credits, holding.is_empty) == (1, True)


async def test_gives_nobody_a_result_that_crossed_a_cancellation() -> None:
    """The task is settled already; its place is free."""
    holding = _make(Room(max_tasks=1))
    (task,) = _tasks(1)
    holding.add([task])
    holding.cancel(task)
    assert holding.settle(task.id) is None
    assert (holding.credits, holding.is_empty) == (1, True)


async def test_gives_up_the_step_of_a_hung_worker_and_then_the_rest() -> None:
    """What waits for its turn can be done elsewhere."""
    holding = _make(Room(max_tasks=1), step_s=0.001)
    first, second = _tasks(2)
    holding.add([first])
    holding.add([second])
    assert holding.take(holding.stepped) == [first]
    assert holding.clear() == [second]
    assert (holding.is_empty, holding.stepped) == (True, set())


async def test_waits_until_nothing_is_in_flight() -> None:
    """However it ends: by an answer, a cancellation, or the worker's death."""
    holding = _make(Room(max_tasks=4))
    one, two, three = _tasks(3)
    holding.add([one, two, three])
    waiting = asyncio.ensure_future(holding.wait_empty())
    for end in (lambda: holding.settle(one.id), lambda: holding.cancel(two)):
        end()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    holding.clear()
    await waiting
