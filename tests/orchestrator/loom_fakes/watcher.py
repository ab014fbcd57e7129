"""Watcher that notes what it is told."""

from __future__ import annotations

from torchloom.cache import Outcome
from torchloom.engine import Values
from torchloom.errors import TorchLoomError
from torchloom.graph import Node


class NotingWatcher:
    """Keeps everything in `told`, as tuples that begin with what it is."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def on_chunk(self, _: Node, task: int | None, data: Values) -> None:
        """Note a chunk."""
        self.told.append(("chunk", task, dict(data)))

    def on_item(self, _: Node, task: int | None, index: int, item: object) -> None:
        """Note an item."""
        self.told.append(("item", task, index, item))

    def on_outputs(self, _: Node, task: int, outputs: Values) -> None:
        """Note what an item of a foreach gave."""
        self.told.append(("outputs", task, dict(outputs)))

    def on_start_over(self, _: Node, task: int | None, error: TorchLoomError | None) -> None:
        """Note a new start."""
        self.told.append(("start over", task, str(error) if error else None))

    def on_retry(self, _: Node, attempt: int, error: TorchLoomError) -> None:
        """Note another attempt."""
        self.told.append(("retry", attempt, type(error).__name__))

    def on_cache(self, _: Node, outcome: Outcome) -> None:
        """Note how the cache answered."""
        self.told.append(("cache", outcome))
