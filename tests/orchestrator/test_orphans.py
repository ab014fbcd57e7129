"""Orphans: who is tried again after a worker's death."""

from __future__ import annotations

from torchloom.orphans import MAX_DEATHS, count_death
from torchloom.task import Task, TaskState


async def test_gives_those_that_are_not_to_run_again() -> None:
    """Those that have shown something, or held too many workers as they died; each is counted."""
    fresh, shown, worn = (Task({}, {}, on_chunk=lambda _: None) for _ in range(3))
    shown.move(TaskState.RUNNING)
    shown.add_chunk({})
    worn.deaths = MAX_DEATHS - 1
    lost = dict(count_death([fresh, shown, worn], "echo@1", "exit code 3"))

    assert [task.deaths for task in (fresh, shown, worn)] == [1, 1, MAX_DEATHS]
    assert [error.message for error in lost.values()] == [
        "The worker of 'echo@1' ended (exit code 3) after it had begun to answer.",
        "The worker of 'echo@1' ended (exit code 3) again and again.",
    ]
    assert {error.status for error in lost.values()} == {503}
