"""Feed: the items of one node, while it still writes them, for the nodes that take them live.

Knows no node, and neither who writes nor who reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from torchloom.engine import Values


class Feed:
    """Items in order, for any number of readers, each of which looks when it is told to.

    It grows until it ends, with the outputs of the node (None: it was skipped). One that
    `may_start_over` may drop its items before, and begin another round.
    """

    def __init__(self, now: Callable[[], float], *, may_start_over: bool = False) -> None:
        self.may_start_over = may_start_over
        self.items: list[object] = []
        self.outputs: Values | None = None
        self.num_rounds = 1
        self.is_over = False
        self._now = now
        self._times: list[float] = []
        self._ended_at = 0.0
        self._readers: set[Callable[[], None]] = set()

    @classmethod
    def ended(cls, now: Callable[[], float]) -> Self:
        """Give one that is over and brings nothing."""
        feed = cls(now)
        feed.end(None)
        return feed

    def __repr__(self) -> str:
        """Say how much it holds."""
        return f"<Feed: {len(self.items)} items{', over' if self.is_over else ''}>"

    def add(self, item: object) -> None:
        """Take an item in and tell the readers."""
        self.items.append(item)
        self._times.append(self._now())
        self._tell()

    def start_over(self) -> None:
        """Drop the items: others come in their place."""
        assert self.may_start_over
        self.items, self._times = [], []
        self.num_rounds += 1
        self._tell()

    def end(self, outputs: Values | None) -> None:
        """Let the readers come to the end."""
        self.outputs, self.is_over = outputs, True
        self._ended_at = self._now()
        self._tell()

    def time_of(self, index: int | None) -> float:
        """Tell when an item came, in the clock's seconds; those with the end, and None, then."""
        is_early = index is not None and index < len(self._times)
        return self._times[index] if is_early else self._ended_at  # type: ignore[index]  # just seen

    @contextmanager
    def telling(self, reader: Callable[[], None]) -> Iterator[None]:
        """Call the reader, which must not raise, whenever something has changed."""
        self._readers.add(reader)
        try:
            yield
        finally:
            self._readers.discard(reader)

    def _tell(self) -> None:
        for reader in self._readers:
            reader()
