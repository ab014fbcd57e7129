"""KvCache: slots of keys and values."""

from __future__ import annotations

import torch

from torchloom_models.llm.cache.kv_cache import KvCache, LayerShape


def _cache() -> KvCache:
    """Give two layers of three slots, each number another one."""
    layers = [LayerShape(num_heads=2, key_dim=4, value_dim=3)] * 2
    cache = KvCache(layers, num_slots=3, max_length=8, dtype=torch.float32, device="cpu")
    for buffer in cache._buffers:
        buffer.copy_(torch.arange(buffer.numel()).view(buffer.shape))
    return cache


def test_copies_the_beginning_of_a_slot() -> None:
    """What the other holds behind it stays, and so does the one it comes from."""
    cache, before = _cache(), _cache()

    cache.move(0, 2, 5)

    for new, old in zip(cache._buffers, before._buffers, strict=True):
        assert torch.equal(new[:2], old[:2])
        assert torch.equal(new[2, :, :5], old[0, :, :5])
        assert torch.equal(new[2, :, 5:], old[2, :, 5:])


def test_exchanges_the_beginnings_of_two_slots() -> None:
    """Each as much of it as counts, longer or shorter than the other's."""
    for length, num_back in ((5, 3), (2, 6), (0, 4)):
        cache, before = _cache(), _cache()

        cache.move(2, 1, length, num_back)

        for new, old in zip(cache._buffers, before._buffers, strict=True):
            assert torch.equal(new[1, :, :length], old[2, :, :length])
            assert torch.equal(new[2, :, :num_back], old[1, :, :num_back])
            assert torch.equal(
                new[1, :, max(length, num_back) :], old[1, :, max(length, num_back) :]
            )
            assert torch.equal(new[0], old[0])
