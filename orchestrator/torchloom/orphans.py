"""Orphans: tasks whose worker has ended, and which of them may be tried again. Knows no worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torchloom.ending import to_death
from torchloom.errors import WorkerDied
from torchloom.task import Task


#: A task is given up when this many workers have died while they held it.
MAX_DEATHS = 3


def count_death(tasks: Iterable[Task], whose: str, how: str) -> Iterator[tuple[Task, WorkerDied]]:
    """Count a worker's death for each task that it held; give those that are not to run again.

    They have shown something to their callers, or have been there too often when a worker died.
    """
    for task in tasks:
        task.deaths += 1
        if task.chunks_sent or task.deaths >= MAX_DEATHS:
            yield task, to_death(whose, how, has_begun=bool(task.chunks_sent))
