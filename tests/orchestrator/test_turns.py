"""Turns: the batch that runs, and the one sent ahead of its end."""

from __future__ import annotations

import asyncio

import pytest

from torchloom.turns import Turns


_SHORT_S, _LONG_S = 0.001, 0.01


class _Bench:
    """Turns over steps of a known length."""

    def __init__(self, step_s: float) -> None:
        self.asked: list[int] = []
        self.near = asyncio.Event()
        self._step_s = step_s
        self.turns = Turns(self._expect_s, self.near.set)

    def _expect_s(self, size: int) -> float:
        self.asked.append(size)
        return self._step_s


async def test_takes_a_batch_ahead_when_the_end_is_near() -> None:
    """Not while the step is far from its end, and no second one."""
    bench = _Bench(_LONG_S)
    bench.turns.add([1, 2])
    assert (bench.asked, bench.turns.takes_ahead) == ([2], False)
    await bench.near.wait()
    assert bench.turns.takes_ahead
    bench.turns.add([3])
    assert not bench.turns.takes_ahead


async def test_begins_the_next_turn_after_the_last_of_a_batch() -> None:
    """Whoever was sent ahead runs then, and the end of that step is awaited in its turn."""
    bench = _Bench(_LONG_S)
    bench.turns.add([1, 2])
    await bench.near.wait()
    bench.turns.add([3, 4, 5])
    bench.turns.remove(1)
    assert bench.asked == [2]
    bench.turns.remove(2)
    assert (bench.asked, bench.turns.takes_ahead) == ([2, 3], False)
    bench.near.clear()
    await bench.near.wait()
    assert bench.turns.takes_ahead


async def test_forgets_whoever_leaves_before_its_turn() -> None:
    """A task that was sent ahead and is cancelled no longer counts."""
    bench = _Bench(_LONG_S)
    bench.turns.add([1])
    await bench.near.wait()
    bench.turns.add([2, 3])
    bench.turns.remove(3)
    bench.turns.remove(1)
    assert bench.asked == [1, 1]


async def test_sends_nothing_ahead_where_a_batch_takes_several_steps() -> None:
    """Nobody knows when it ends; one that was cancelled and is still there does not count."""
    bench = _Bench(_LONG_S)
    bench.turns.add([1, 2])
    bench.turns.end_step({3})
    await bench.near.wait()
    assert bench.turns.takes_ahead
    bench.turns.end_step({2})
    assert not bench.turns.takes_ahead
    for task_id in (1, 2):
        bench.turns.remove(task_id)
    found = []
    for task_id in (3, 4):
        bench.near.clear()
        bench.turns.add([task_id])
        await bench.near.wait()
        found.append(bench.turns.takes_ahead)
        bench.turns.remove(task_id)
    assert found == [False, True], "nor of the batch after it"


@pytest.mark.parametrize(("step_s", "most"), [(0.004, 1), (_SHORT_S, 2), (0.00001, 16)])
async def test_sends_full_batches_ahead_of_short_steps(step_s: float, most: int) -> None:
    """Of others the wait would be too large a part; as many as the scheduler's answer takes."""
    bench = _Bench(step_s)
    assert not bench.turns.takes_full
    bench.turns.add([1])
    for number in range(most):
        assert (bench.turns.takes_full, bench.turns.takes_ahead) == (True, False)
        bench.turns.add([10 + number])
    assert not bench.turns.takes_full
    bench.turns.remove(1)
    assert (bench.turns.stepped([10, 11]), bench.turns.takes_full) == ({10}, True)
    assert not bench.near.is_set()


async def test_forgets_a_full_batch_that_leaves_before_its_turn() -> None:
    """The one behind it comes next."""
    bench = _Bench(_SHORT_S)
    for task_id in (1, 2, 3):
        bench.turns.add([task_id])
    bench.turns.remove(2)
    assert bench.turns.takes_full
    assert bench.turns.stepped([1, 3]) == {1}
    bench.turns.remove(1)
    assert bench.turns.stepped([3]) == {3}
    bench.turns.remove(3)
    assert not bench.turns.takes_full


async def test_forgets_everything_with_its_worker() -> None:
    """A timer of the worker that is gone tells nobody anything."""
    bench = _Bench(_LONG_S)
    bench.turns.add([1])
    await bench.near.wait()
    bench.turns.add([2])
    bench.turns.clear()
    bench.turns.add([3])
    assert (bench.asked, bench.turns.takes_ahead) == ([1, 1], False)
