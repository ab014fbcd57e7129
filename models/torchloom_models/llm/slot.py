"""SlotTable: which slots are free and which are used. Knows no tensors and no sequences."""

from __future__ import annotations

import heapq


class SlotTable:
    """Hands out slots 0 … `num_slots` - 1, always the lowest free one, so that rows stay dense."""

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self._free = list(range(num_slots))
        self._used: set[int] = set()

    @property
    def num_free(self) -> int:
        """How many slots are free."""
        return len(self._free)

    @property
    def num_rows(self) -> int:
        """One more than the highest used slot: the rows that a pass over all used slots covers."""
        return max(self._used, default=-1) + 1

    def allocate(self) -> int:
        """Take the lowest free slot. The caller has seen that `num_free` is not 0."""
        slot = heapq.heappop(self._free)
        self._used.add(slot)
        return slot

    def release(self, slot: int) -> None:
        """Give a used slot back."""
        self._used.remove(slot)
        heapq.heappush(self._free, slot)

    def check(self) -> None:
        """Assert the invariant: each slot is free or used, and none is both."""
        assert len(self._free) + len(self._used) == self.num_slots, repr(self)
        assert set(self._free) | self._used == set(range(self.num_slots)), repr(self)

    def __repr__(self) -> str:
        """Say how many are used, and which."""
        return f"<SlotTable {len(self._used)} of {self.num_slots} used: {sorted(self._used)}>"
