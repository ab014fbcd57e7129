"""PagedCache: the keys and values of every sequence, in blocks; each slot has a table of its own.

Knows no model, no scheduling and no transformers; who owns which slot is SlotTable's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from torchloom_models.llm.kv_cache import LayerShape, make_zeros
from torchloom_models.paged_attention import BLOCK_SIZE


class PagedCache:
    """Buffers [number of blocks, num_heads, BLOCK_SIZE, dim], keys and values, layer by layer."""

    def __init__(
        self,
        layers: Sequence[LayerShape],
        *,
        num_slots: int,
        max_length: int,
        dtype: torch.dtype,
    ) -> None:
        self.num_slots = num_slots
        self.max_length = max_length
        per_slot = num_blocks(max_length)
        self.buffers = tuple(
            make_zeros((num_slots * per_slot, layer.num_heads, BLOCK_SIZE, dim), dtype, "cpu")
            for layer in layers
            for dim in (layer.key_dim, layer.value_dim)
        )
        self._tables = [
            list(range(slot * per_slot, (slot + 1) * per_slot)) for slot in range(num_slots)
        ]

    @property
    def num_layers(self) -> int:
        """How many layers keep keys and values."""
        return len(self.buffers) // 2

    @property
    def num_blocks(self) -> int:
        """How many blocks all slots have together."""
        return sum(len(table) for table in self._tables)

    def blocks(self, slot: int, length: int) -> list[int]:
        """Give the blocks that the first `length` positions of a slot lie in."""
        return self._tables[slot][: num_blocks(length)]

    def move(self, source: int, target: int) -> None:
        """Give a slot what another one holds, and that one its blocks: nothing is copied."""
        tables = self._tables
        tables[source], tables[target] = tables[target], tables[source]

    def clear(self, slot: int) -> None:
        """Zero a slot that held NaN: times a masked weight of 0, it would reach the next owner."""
        for buffer in self.buffers:
            buffer[self._tables[slot]] = 0

    def __repr__(self) -> str:
        """Say its size."""
        size = sum(buffer.numel() * buffer.itemsize for buffer in self.buffers)
        return (
            f"<PagedCache {self.num_slots} slots of {self.max_length} tokens, "
            f"{self.num_layers} layers, {size / 2**20:.0f} MiB>"
        )


def num_blocks(length: int) -> int:
    """Give how many blocks so many positions take."""
    return -(-length // BLOCK_SIZE)
