"""Owner: what a replica tells its pool. Knows neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from torchloom.task import Task


if TYPE_CHECKING:
    from torchloom.replica import Replica


class Owner(Protocol):
    """What a replica tells its pool."""

    def on_room(self) -> None:
        """Hand out more: there may be room."""
        ...

    def on_orphans(self, replica: Replica, tasks: Sequence[Task]) -> None:
        """Queue these tasks again, as far as they can be: its worker has ended."""
        ...

    def on_settled(self, task: Task) -> None:
        """Count a task that was in flight and is over."""
        ...

    def on_step(self, device: str, size: int, seconds: float) -> None:
        """Learn from a step."""
        ...

    def expected_step_s(self, device: str, size: int) -> float:
        """Say how long a step over so many tasks will take there; 0 where nothing is known."""
        ...

    def on_progress(self, device: str, what: str, fraction: float | None) -> None:
        """Hear how far loading has come."""
        ...
