"""PagedCache: the keys and values of every sequence, in blocks. Knows no model and no sequences.

Who owns which block is BlockPool's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from torchloom_models.llm.cache.kv_cache import LayerShape, make_zeros
from torchloom_models.paged_attention import BLOCK_SIZE


class PagedCache:
    """Buffers [number of blocks, num_heads, BLOCK_SIZE, dim], keys and values, layer by layer."""

    def __init__(
        self, layers: Sequence[LayerShape], *, num_blocks: int, dtype: torch.dtype
    ) -> None:
        self.num_blocks = num_blocks
        self.buffers = tuple(
            make_zeros((num_blocks, layer.num_heads, BLOCK_SIZE, dim), dtype, "cpu")
            for layer in layers
            for dim in (layer.key_dim, layer.value_dim)
        )

    @property
    def num_layers(self) -> int:
        """How many layers keep keys and values."""
        return len(self.buffers) // 2

    def clear(self, blocks: Iterable[int]) -> None:
        """Zero blocks that held NaN: times a masked weight of 0, it would reach the next owner."""
        numbers = list(blocks)
        for buffer in self.buffers:
            buffer[numbers] = 0

    def __repr__(self) -> str:
        """Say its size."""
        size = sum(buffer.numel() * buffer.itemsize for buffer in self.buffers)
        return (
            f"<PagedCache {self.num_blocks} blocks of {BLOCK_SIZE} tokens, "
            f"{self.num_layers} layers, {size / 2**20:.0f} MiB>"
        )


def num_blocks(length: int) -> int:
    """Give how many blocks so many positions take."""
    return -(-length // BLOCK_SIZE)
