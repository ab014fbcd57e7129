"""WorkerPlace: on which devices a model's workers go, and how many to each. Asks no device.

TorchServe counts a model's workers in all, the registry on each device. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torchloom_api.torchserve.limits import Limits


def settle_place(limits: Limits, gpus: Sequence[int]) -> Limits:
    """Drop what an archive says of GPUs that are not there, as TorchServe does.

    Without any GPU it runs on the CPU; a list that names one that there is not counts for nothing.
    """
    if not gpus:
        return replace(limits, device_type="cpu", device_ids=())
    there = limits.device_ids if set(limits.device_ids) <= set(gpus) else ()
    return replace(limits, device_ids=there)


class NotEnoughGpus(Exception):
    """A worker needs more GPUs than a model may use."""


def choose_gpus(limits: Limits, gpus: Sequence[int]) -> list[int]:
    """Give the GPUs that a model may use: the archive's, or all; none where it is to be on the CPU.

    `gpus`: the numbers of those that there are; the limits are settled for them. Of models whose
    workers have several, as many as are whole groups. Raises NotEnoughGpus where that is none.
    """
    if limits.device_type == "cpu" or not gpus:
        return []
    wanted = list(limits.device_ids) or list(gpus)
    level = limits.gpus_each
    whole = wanted[: len(wanted) // level * level]
    if level > 1 and not whole:
        raise NotEnoughGpus
    return whole


def choose_devices(limits: Limits, gpus: Sequence[int]) -> list[str]:
    """Name the devices of workers, no more than there are of these: each one's first GPU, or CPU.

    `gpus`: those that they may use.
    """
    firsts = list(gpus)[:: limits.gpus_each]
    count = max(limits.min_workers, 1)
    return [f"cuda:{each}" for each in firsts[:count]] or ["cpu"]


def fit(limits: Limits, gpus: Sequence[int]) -> Limits:
    """Fit what is asked for to the GPUs that a model may use: groups of them are not shared."""
    if not gpus or limits.gpus_each == 1:
        return limits
    room = len(gpus) // limits.gpus_each
    least, most = min(limits.min_workers, room), min(limits.max_workers, room)
    return replace(limits, min_workers=least, max_workers=most)


def bounds_each(limits: Limits, num_devices: int, *, is_scaled: bool) -> tuple[int, int]:
    """Give the least and the most workers that each device runs.

    Unless they are scaled by load they are the same: the most is a bound of requests, and no goal.
    """
    least = count_each(limits.min_workers, num_devices)
    most = count_each(limits.max_workers, num_devices)
    return least, max(least, most) if is_scaled else least


def count_each(workers: int, num_devices: int) -> int:
    """Give how many workers each device runs; rounded up, where they are no multiple."""
    return -(-workers // num_devices)
