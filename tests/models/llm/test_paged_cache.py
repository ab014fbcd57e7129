"""PagedCache: a table of blocks for each slot, that no two slots share."""

from __future__ import annotations

import torch

from torchloom_models.llm.kv_cache import LayerShape
from torchloom_models.llm.paged_cache import PagedCache


def make_cache() -> PagedCache:
    """Give three slots of 70 tokens in two layers."""
    layers = [
        LayerShape(num_heads=2, key_dim=8, value_dim=4),
        LayerShape(num_heads=1, key_dim=16, value_dim=16),
    ]
    return PagedCache(layers, num_slots=3, max_length=70, dtype=torch.float32)


def test_gives_each_slot_blocks_of_its_own() -> None:
    """So many as its positions need, the first of them for the first positions."""
    cache = make_cache()

    tables = [cache.blocks(slot, 70) for slot in range(3)]

    assert cache.num_blocks == 9
    assert sorted(block for table in tables for block in table) == list(range(9))
    assert [len(cache.blocks(0, length)) for length in (1, 32, 33, 64, 65)] == [1, 1, 2, 2, 3]
    assert cache.blocks(1, 33) == tables[1][:2]
    assert [tuple(buffer.shape) for buffer in cache.buffers] == [
        (9, 2, 32, 8),
        (9, 2, 32, 4),
        (9, 1, 32, 16),
        (9, 1, 32, 16),
    ]
    assert cache.num_layers == 2


def test_moves_a_slot_without_a_copy() -> None:
    """The target has what the source had; the source has the target's blocks, and none is lost."""
    cache = make_cache()
    before = [cache.blocks(slot, 70) for slot in range(3)]

    cache.move(2, 0)

    assert [cache.blocks(slot, 70) for slot in range(3)] == [before[2], before[1], before[0]]


def test_clears_one_slot_alone() -> None:
    """NaN goes, wherever the slot's blocks are now; the other slots keep what they hold."""
    cache = make_cache()
    cache.move(2, 0)
    for buffer in cache.buffers:
        buffer.fill_(float("nan"))

    cache.clear(0)

    for buffer in cache.buffers:
        assert (buffer[cache.blocks(0, 70)] == 0).all()
        assert buffer[cache.blocks(1, 70) + cache.blocks(2, 70)].isnan().all()


def test_says_its_size() -> None:
    """Its slots and layers, for whoever reads a log."""
    assert repr(make_cache()) == "<PagedCache 3 slots of 70 tokens, 2 layers, 0 MiB>"
