"""PagedCache: blocks of keys and values, layer by layer."""

from __future__ import annotations

import torch

from torchloom_models.llm.cache.kv_cache import LayerShape
from torchloom_models.llm.cache.paged_cache import PagedCache, num_blocks


def make_cache() -> PagedCache:
    """Give nine blocks in two layers."""
    layers = [
        LayerShape(num_heads=2, key_dim=8, value_dim=4),
        LayerShape(num_heads=1, key_dim=16, value_dim=16),
    ]
    return PagedCache(layers, num_blocks=9, dtype=torch.float32)


def test_keeps_each_layers_blocks_apart() -> None:
    """Keys and values of each layer have a buffer each, of the layer's own widths."""
    cache = make_cache()

    assert [tuple(buffer.shape) for buffer in cache.buffers] == [
        (9, 2, 32, 8),
        (9, 2, 32, 4),
        (9, 1, 32, 16),
        (9, 1, 32, 16),
    ]
    assert cache.num_layers == 2


def test_counts_the_blocks_that_positions_take() -> None:
    """The last one may be half empty."""
    assert [num_blocks(length) for length in (1, 32, 33, 64, 65)] == [1, 1, 2, 2, 3]


def test_clears_some_blocks_alone() -> None:
    """NaN goes from these; others keep what they hold."""
    cache = make_cache()
    for buffer in cache.buffers:
        buffer.fill_(float("nan"))

    cache.clear([0, 4])

    for buffer in cache.buffers:
        assert (buffer[[0, 4]] == 0).all()
        assert buffer[[1, 2, 3, 5, 6, 7, 8]].isnan().all()


def test_says_its_size() -> None:
    """Its blocks and layers, for whoever reads a log."""
    assert repr(make_cache()) == "<PagedCache 9 blocks of 32 tokens, 2 layers, 0 MiB>"
