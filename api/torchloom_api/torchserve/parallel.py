"""Parallel: what `model-config.yaml` says of workers of several processes, as model files say it.

Knows no device and no server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from torchloom_models.group.plan import MAX_LEVEL, THREADS, TORCHRUN, ParallelType


def type_of(config: Mapping[str, object]) -> str:
    """Give `parallelType`, or an empty text where there is none that means anything."""
    said = config.get("parallelType")
    lower = said.lower() if isinstance(said, str) else ""
    return lower if lower in get_args(ParallelType) else ""


def level_of(config: Mapping[str, object]) -> int:
    """Give how many processes a worker has; `torchrun` goes first, as in TorchServe."""
    per_node = _whole(_torchrun(config).get("nproc-per-node"))
    return min(per_node or _whole(config.get("parallelLevel")), MAX_LEVEL)


def to_parallel(config: Mapping[str, object], gpus: Sequence[int] = ()) -> dict[str, object] | None:
    """Give the key `parallel` of a model file; None where workers are plain ones."""
    kind = type_of(config)
    if not kind:
        return None
    said = _torchrun(config)
    torchrun: dict[str, object] = {
        key: value
        for key, value in said.items()
        if key in TORCHRUN and isinstance(value, str | int | float)
    }
    threads = _whole(said.get(THREADS))
    if threads:
        torchrun[THREADS] = threads
    found: dict[str, object] = {"type": kind, "level": max(level_of(config), 1)}
    if gpus:
        found["gpus"] = list(gpus)
    if torchrun:
        found["torchrun"] = torchrun
    return found


def _torchrun(config: Mapping[str, object]) -> Mapping[str, object]:
    said = config.get("torchrun")
    return said if isinstance(said, Mapping) else {}


def _whole(value: object) -> int:
    try:
        return max(int(str(value)), 0)
    except ValueError:
        return 0
