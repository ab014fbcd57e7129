"""How fast a device copies its own memory: what a step that reads every weight is held against."""

from __future__ import annotations

import statistics
import time

import torch


_REPEATS = 20


def copy_bytes_per_s(device: str, *, size: int = 2**30) -> float:
    """Give the bytes read and written in a second of copying `size` bytes: the median of many."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(_REPEATS + 3):
        _synchronise(device)
        began = time.perf_counter()
        target.copy_(source)
        _synchronise(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size / statistics.median(seconds[3:])


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
