"""TaskQueue: bounded, ordered, fair."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchloom.errors import Cancelled, QueueFull
from torchloom.queue import TaskQueue
from torchloom.task import Task, TaskState


def _take_all(queue: TaskQueue) -> list[Task]:
    return [_take(queue) for _ in range(len(queue))]


def _take(queue: TaskQueue) -> Task:
    task = queue.take()
    task.move(TaskState.RUNNING)
    return task


def _cancel(queue: TaskQueue, task: Task) -> None:
    task.fail(Cancelled("left"), TaskState.CANCELLED)
    queue.forget(task)


async def test_gives_first_what_came_first() -> None:
    """Without priorities and deadlines, order is arrival."""
    queue = TaskQueue(10)
    tasks = [Task({}, {}) for _ in range(5)]
    for task in tasks:
        queue.add(task)
    assert queue.peek() is tasks[0]
    assert _take_all(queue) == tasks
    assert queue.peek() is None
    with pytest.raises(IndexError):
        queue.take()


async def test_gives_high_priority_first_then_early_deadlines() -> None:
    """Priority decides, then the earlier deadline; no deadline is the latest of all."""
    queue = TaskQueue(10)
    none = Task({}, {})
    late = Task({}, {}, deadline=20.0)
    early = Task({}, {}, deadline=10.0)
    urgent = Task({}, {}, priority=1)
    for task in (none, late, early, urgent):
        queue.add(task)
    assert _take_all(queue) == [urgent, early, late, none]


async def test_takes_turns_between_tenants() -> None:
    """A tenant with many tasks does not keep one with few waiting."""
    queue = TaskQueue(100)
    for _ in range(4):
        queue.add(Task({}, {}, tenant="many"))
    queue.add(Task({}, {}, tenant="few"))
    queue.add(Task({}, {}, tenant="few"))
    order = [task.tenant for task in _take_all(queue)]
    assert order == ["many", "few", "many", "few", "many", "many"]


async def test_gives_no_credit_for_time_away() -> None:
    """A tenant that comes back does not catch up on what it did not ask for."""
    queue = TaskQueue(100)
    for _ in range(10):
        queue.add(Task({}, {}, tenant="steady"))
    for _ in range(6):
        _take(queue)
    for _ in range(3):
        queue.add(Task({}, {}, tenant="new"))
    order = [task.tenant for task in _take_all(queue)]
    assert order[:6].count("new") == 3
    assert order[:2] in (["steady", "new"], ["new", "steady"])


async def test_puts_priority_before_fairness() -> None:
    """A tenant's share counts only among tasks of the same priority."""
    queue = TaskQueue(100)
    for _ in range(3):
        queue.add(Task({}, {}, tenant="a", priority=1))
    queue.add(Task({}, {}, tenant="b"))
    assert [task.tenant for task in _take_all(queue)] == ["a", "a", "a", "b"]


async def test_refuses_at_its_bound_but_takes_back_what_it_had_accepted() -> None:
    """The bound is for newcomers; a task whose worker died is never refused."""
    queue = TaskQueue(2)
    first, second, third = (Task({}, {}) for _ in range(3))
    queue.add(first)
    queue.add(second)
    assert queue.is_full
    with pytest.raises(QueueFull, match="2 tasks are waiting"):
        queue.refuse(third)
    queue.add(third)
    assert repr(queue) == "<TaskQueue 3 of 2>"


async def test_puts_back_a_task_where_it_was() -> None:
    """A task that returns goes before those that came after it."""
    queue = TaskQueue(10)
    first, second = Task({}, {}), Task({}, {})
    queue.add(first)
    queue.add(second)
    taken = _take(queue)
    taken.move(TaskState.QUEUED)
    queue.add(taken)
    assert _take_all(queue) == [first, second]


async def test_passes_over_settled_tasks() -> None:
    """A task cancelled in the queue frees its place at once and is never given out."""
    queue = TaskQueue(3)
    tasks = [Task({}, {}, tenant=t) for t in ("a", "a", "b")]
    for task in tasks:
        queue.add(task)
    _cancel(queue, tasks[0])
    _cancel(queue, tasks[2])
    assert len(queue) == 1
    assert queue.tasks() == [tasks[1]]
    assert _take_all(queue) == [tasks[1]]
    assert queue.peek() is None


async def test_forgets_only_what_is_settled() -> None:
    """Counting out a task that still waits is a fault of ours."""
    queue = TaskQueue(3)
    task = Task({}, {})
    queue.add(task)
    with pytest.raises(ValueError, match="still to be done"):
        queue.forget(task)


async def test_does_not_grow_with_callers_who_come_and_leave() -> None:
    """Behind a task that waits, cancelled ones do not pile up (nor their inputs in memory)."""
    queue = TaskQueue(10)
    first = Task({}, {})
    queue.add(first)
    for _ in range(5000):
        task = Task({}, {})
        queue.add(task)
        _cancel(queue, task)
    assert sum(len(heap) for line in queue._lines.values() for heap in line.heaps.values()) < 1100
    assert _take_all(queue) == [first]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 3), st.integers(0, 2)),
            st.tuples(st.just("take"), st.just(0), st.just(0)),
            st.tuples(st.just("cancel"), st.integers(0, 30), st.just(0)),
        ),
        max_size=60,
    )
)
async def test_loses_and_doubles_nothing(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is added, taken and cancelled: each task comes out exactly once."""
    queue = TaskQueue(20)
    waiting: list[Task] = []
    for what, number, priority in steps:
        if what == "add" and not queue.is_full:
            waiting.append(Task({}, {}, tenant=str(number), priority=priority))
            queue.add(waiting[-1])
        elif what == "take" and waiting:
            task = _take(queue)
            waiting.remove(task)
            assert task.priority >= max((t.priority for t in waiting), default=0)
        elif what == "cancel" and number < len(waiting):
            _cancel(queue, waiting.pop(number))
        assert len(queue) == len(waiting)
    assert set(_take_all(queue)) == set(waiting)


async def test_gives_the_first_of_those_that_are_allowed() -> None:
    """Order among the allowed is the order of all; the rest stay where they are."""
    queue = TaskQueue(10)
    gpu, plain = Task({}, {}, device="cuda"), Task({}, {})
    urgent = Task({}, {}, device="cuda", priority=1)
    for task in (gpu, plain, urgent):
        queue.add(task)
    assert (sorted(queue.hints), queue.count([""]), queue.count(["cuda"])) == (["", "cuda"], 1, 2)
    assert queue.peek([""]) is plain
    assert queue.peek(["cpu"]) is None
    with pytest.raises(IndexError):
        queue.take(["cpu"])
    assert queue.take(["", "cuda"]) is urgent
    assert queue.take(["cuda"]) is gpu
    assert queue.hints == [""]


async def test_lets_others_take_a_task_that_waits() -> None:
    """Under its new hint it keeps its place; one that does not wait only has the hint."""
    queue = TaskQueue(10)
    first, second, third = [Task({}, {}, device="cpu") for _ in range(3)]
    for task in (first, second, third):
        queue.add(task)
    taken = _take(queue)
    queue.redirect(second, "cuda")
    queue.redirect(taken, "cuda")
    queue.check()

    assert (queue.count(["cpu"]), queue.count(["cuda"]), len(queue)) == (1, 1, 2)
    assert (first.hint, second.hint, second.device) == ("cuda", "cuda", "cpu")
    assert queue.peek(["cpu"]) is third
    assert queue.take(["cuda"]) is second


async def test_gives_tasks_of_sessions_as_they_came() -> None:
    """Whatever priorities and deadlines they have."""
    queue = TaskQueue(10)
    tasks = [Task({}, {}), Task({}, {}, priority=9), Task({}, {}, deadline=1.0)]
    for task in tasks:
        task.session = "a"
        queue.add(task)

    assert _take_all(queue) == tasks
