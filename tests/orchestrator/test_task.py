"""Task and its table of states."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from torchloom.errors import Cancelled, DeadlineExceeded, TaskFailed
from torchloom.task import TRANSITIONS, IllegalTransition, Task, TaskState


FINAL = {TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED, TaskState.EXPIRED}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(TaskState, TaskState)))
async def test_moves_only_as_the_table_allows(old: TaskState, new: TaskState) -> None:
    """Over all pairs: an allowed move moves, any other raises and names both states."""
    task = Task({}, {})
    task.state = old
    if new in TRANSITIONS[old]:
        task.move(new)
        assert task.state is new
    else:
        with pytest.raises(IllegalTransition, match=f"from {old.value} to {new.value}"):
            task.move(new)
        assert task.state is old


def test_never_leaves_a_final_state() -> None:
    """Done, failed, cancelled and expired are the ends, and there are no others."""
    assert {state for state, after in TRANSITIONS.items() if not after} == FINAL
    assert TaskState.DONE not in TRANSITIONS[TaskState.QUEUED]


async def test_gives_its_answer_to_whoever_waits() -> None:
    """Finishing settles the one future."""
    task = Task({"text": "a"}, {})
    task.move(TaskState.RUNNING)
    task.finish({"text": "A"})
    assert await task.outputs() == {"text": "A"}
    assert task.is_final
    assert repr(task) == f"<Task {task.id}: done>"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (TaskFailed("no"), TaskState.FAILED),
        (Cancelled("no"), TaskState.CANCELLED),
        (DeadlineExceeded("no"), TaskState.EXPIRED),
    ],
)
async def test_gives_its_error_to_whoever_waits(error: TaskFailed, state: TaskState) -> None:
    """Failing raises the error at the waiting end."""
    task = Task({}, {})
    task.fail(error, state)
    assert task.state is state
    with pytest.raises(type(error)):
        await task.outputs()


async def test_can_be_settled_after_its_caller_has_left() -> None:
    """A caller that stops waiting takes nothing down with it."""
    for settle in (lambda t: t.finish({}), lambda t: t.fail(TaskFailed("no"))):
        task = Task({}, {})
        task.move(TaskState.RUNNING)
        waiting = asyncio.ensure_future(task.outputs())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        settle(task)
        assert task.is_final


async def test_hands_chunks_on_until_it_is_over() -> None:
    """Chunks reach the sink in order, and none comes after the end."""
    seen: list[object] = []
    task = Task({}, {}, on_chunk=seen.append)
    task.add_chunk({"text": "a"})
    task.add_chunk({"text": "b"})
    task.fail(Cancelled("left"), TaskState.CANCELLED)
    task.add_chunk({"text": "c"})
    assert seen == [{"text": "a"}, {"text": "b"}]
    assert task.chunks_sent == 2


async def test_does_not_count_chunks_that_nobody_sees() -> None:
    """A task without a sink has shown nothing, and so may be run again."""
    task = Task({}, {})
    task.add_chunk({"text": "a"})
    assert task.chunks_sent == 0


async def test_tells_its_error_once_it_has_one() -> None:
    """None while it waits, of one that is done, and of one whose caller has left."""
    done, failed, left = Task({}, {}), Task({}, {}), Task({}, {})
    error = TaskFailed("no")
    before = failed.error
    failed.fail(error)
    done.move(TaskState.RUNNING)
    done.finish({}, ["a", "b"])
    waiting = asyncio.ensure_future(left.outputs())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    left.fail(Cancelled("left"), TaskState.CANCELLED)

    assert (before, failed.error, done.error, left.error) == (None, error, None, None)
    assert done.ends == ("a", "b")
