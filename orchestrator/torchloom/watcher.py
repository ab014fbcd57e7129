"""Watcher: what is told of the nodes of a run while they work. Knows not who listens."""

from __future__ import annotations

from typing import Protocol

from torchloom.cache import Outcome
from torchloom.engine import Values
from torchloom.errors import TorchLoomError
from torchloom.graph import Node


class Watcher(Protocol):
    """Is told what happens in a node. `task` is the index of an item of its foreach, if any."""

    def on_chunk(self, node: Node, task: int | None, data: Values) -> None:
        """Hear of a chunk of a streamed node."""
        ...

    def on_item(self, node: Node, task: int | None, index: int, item: object) -> None:
        """Hear of an item that was cut from the text of a streamed node."""
        ...

    def on_outputs(self, node: Node, task: int, outputs: Values) -> None:
        """Hear what an item of a streamed node's foreach gave."""
        ...

    def on_start_over(self, node: Node, task: int | None, error: TorchLoomError | None) -> None:
        """Hear that what was told of a streamed node, or of one of its tasks, holds no more.

        The error is why its fallback takes over; None where its items are replaced.
        """
        ...

    def on_retry(self, node: Node, attempt: int, error: TorchLoomError) -> None:
        """Hear of another attempt."""
        ...

    def on_cache(self, node: Node, outcome: Outcome) -> None:
        """Hear how the cache answered."""
        ...
