"""KvCache: the keys and values of every sequence, one slot each.

Each layer has buffers of its own: a single one for all makes a compiled step several times slower.
Knows no model, no scheduling and no transformers; who owns which slot is SlotPool's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """What one attention layer keeps of a token: `num_heads` keys and values of these widths."""

    num_heads: int
    key_dim: int
    value_dim: int

    @property
    def width(self) -> int:
        """Numbers kept a token."""
        return self.num_heads * (self.key_dim + self.value_dim)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSize:
    """What a cache must hold: so many sequences of so many tokens, in these layers.

    All together hold `num_tokens` at most. `note` is what its operator should know of these.
    """

    layers: Sequence[LayerShape]
    num_slots: int
    max_length: int
    num_tokens: int
    note: str = ""


def token_bytes(layers: Sequence[LayerShape], dtype: torch.dtype) -> int:
    """Give the bytes that one token of one sequence takes in the cache."""
    return sum(layer.width for layer in layers) * dtype.itemsize


class KvCache:
    """Buffers [num_slots, num_heads, max_length, dim], keys and values, layer by layer."""

    def __init__(
        self,
        layers: Sequence[LayerShape],
        *,
        num_slots: int,
        max_length: int,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.num_slots = num_slots
        self.max_length = max_length
        # One position more than is ever used keeps every view strided, never contiguous: code
        # that is compiled for one view's strides then serves them all.
        self._buffers = tuple(
            make_zeros((num_slots, layer.num_heads, max_length + 1, dim), dtype, device)
            for layer in layers
            for dim in (layer.key_dim, layer.value_dim)
        )
        self._views: dict[tuple[int, int], tuple[torch.Tensor, ...]] = {}

    @classmethod
    def of(cls, size: CacheSize, dtype: torch.dtype, device: str) -> Self:
        """Make one of a size."""
        return cls(
            size.layers,
            num_slots=size.num_slots,
            max_length=size.max_length,
            dtype=dtype,
            device=device,
        )

    @property
    def num_layers(self) -> int:
        """How many layers keep keys and values."""
        return len(self._buffers) // 2

    def view(self, num_rows: int, length: int) -> tuple[torch.Tensor, ...]:
        """Give the first rows and positions of every buffer: keys, values, keys and so on.

        They are views: writing to them writes to the cache.
        """
        key = (num_rows, length)
        views = self._views.get(key)
        if views is None:
            views = tuple(buffer[:num_rows, :, :length] for buffer in self._buffers)
            self._views[key] = views
        return views

    def take(self, slots: torch.Tensor, length: int) -> tuple[torch.Tensor, ...]:
        """Give copies of the first positions of slots [rows], in the order of `view`."""
        return tuple(buffer[slots][:, :, :length] for buffer in self._buffers)

    def write(
        self, slots: torch.Tensor, positions: torch.Tensor, states: Sequence[torch.Tensor]
    ) -> None:
        """Put keys and values [rows, heads, new, dim] of every layer, in the order of `view`.

        Row for row they go to `slots` [rows], at `positions` [rows, new].
        """
        for buffer, state in zip(self._buffers, states, strict=True):
            buffer[slots[:, None], :, positions] = state.transpose(1, 2)

    def move(self, source: int, target: int, length: int, num_back: int = 0) -> None:
        """Copy the first `length` positions of one slot over another's.

        The other's first `num_back` go the opposite way. Where memory for them fails, nothing is
        written.
        """
        held = [buffer[target, :, :num_back].clone() for buffer in self._buffers if num_back]
        for buffer in self._buffers:
            buffer[target, :, :length] = buffer[source, :, :length]
        for buffer, states in zip(self._buffers, held, strict=False):
            buffer[source, :, :num_back] = states

    def clear(self, slot: int) -> None:
        """Zero a slot that held NaN: times a masked weight of 0, it would reach the next owner."""
        for buffer in self._buffers:
            buffer[slot].zero_()

    def __repr__(self) -> str:
        """Say its size."""
        size = sum(buffer.numel() * buffer.itemsize for buffer in self._buffers)
        return (
            f"<KvCache {self.num_slots} slots of {self.max_length} tokens, "
            f"{self.num_layers} layers, {size / 2**20:.0f} MiB>"
        )


def make_zeros(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> torch.Tensor:
    """Make zeros; on the CPU through calloc, which takes no memory before it is written to."""
    if device != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    raw = np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)
    return torch.from_numpy(raw).view(dtype).view(shape)
