"""ModelDocument: what was decided for an archive, as a model file. Registers nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.limits import Limits
from torchloom_api.torchserve.worker_place import (
    bounds_each,
    choose_devices,
    choose_gpus,
    settle_place,
)


#: What a model file may say at most: a week.
MAX_TIMEOUT_S: Final = 604_800


def to_language_document(
    served: Served, *, gpus: Sequence[int], is_scaled: bool
) -> dict[str, object]:
    """Write the model file of a language model, but for what its own archive says.

    Without a GPU, and unless the archive asks for the CPU, the fastest of what there is serves it.
    Its engine is one process on one device, whatever the archive says of several.
    """
    alone = settle_place(replace(served.limits, parallel_type=""), gpus)
    devices = choose_devices(alone, choose_gpus(alone, gpus))
    if not gpus and served.limits.device_type != "cpu":
        devices = ["auto"]
    policies = to_policies(served.limits, devices, is_scaled=is_scaled)
    del policies["batching"]  # sequences come and go between its steps: none waits for others
    return {"name": served.name, "version": served.number, "kind": "llm", **policies}


def to_policies(limits: Limits, devices: Sequence[str], *, is_scaled: bool) -> dict[str, object]:
    """Write the keys that all kinds have in common."""
    least, most = bounds_each(limits, len(devices), is_scaled=is_scaled)
    return {
        "devices": list(devices),
        "replicas": least if least == most else {"min": least, "max": most},
        "batching": {"max_wait_s": to_wait_s(limits)},
        "queue": {"max_size": min(limits.job_queue_size, 1_000_000)},
        "load_timeout_s": min(limits.startup_timeout_s, MAX_TIMEOUT_S),
        "step_timeout_s": min(limits.response_timeout_s, MAX_TIMEOUT_S),
    }


def to_wait_s(limits: Limits) -> float:
    """Give how long a batch waits for more requests, in seconds."""
    return min(limits.max_batch_delay_ms / 1000, 3600.0)
