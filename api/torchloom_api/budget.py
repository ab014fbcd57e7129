"""Budgets: how much of each device's memory models may hold, by what the operator says or is there.

Knows no model and no route.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from torchloom.byte_count import parse_byte_count
from torchloom.device import Device
from torchloom.errors import DeviceUnavailable
from torchloom.placement import HOST, place_of
from torchloom_api.machine import DeviceView


#: This share of the machine's memory is left to the server, to what models need while they work,
#: and to everything else.
_RESERVE: Final = 0.1

#: Control groups, which may allow less than the machine has.
_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def parse_budgets(written: Mapping[str, str | int]) -> dict[str, int]:
    """Read the setting `memory`: an amount for each device. Raises ValueError."""
    budgets: dict[str, int] = {}
    for name, text in written.items():
        try:
            device = Device.parse(name)
        except DeviceUnavailable as error:
            raise ValueError(error.message) from None
        if device.kind == "auto":
            message = "'auto' names no memory. Write one of cpu, cuda:0, openvino:GPU."
            raise ValueError(message)
        budgets[place_of(str(device), ())] = parse_byte_count(text)
    return budgets


def find_budgets(
    devices: Iterable[DeviceView],
    written: Mapping[str, str | int],
    *,
    limit_file: Path = _CGROUP_LIMIT,
) -> dict[str, int]:
    """Give the budget of each memory: as written, or what is there.

    That is the machine's memory (or what its control group may use) less a reserve, and of a CUDA
    device what is free. A device that tells neither is not limited.
    """
    budgets: dict[str, int] = {}
    for device in devices:
        if device.device == HOST and device.memory is not None:
            budgets[HOST] = int(min(device.memory, _limit(limit_file)) * (1.0 - _RESERVE))
        elif device.device.startswith("cuda") and device.free_memory is not None:
            budgets[device.device] = device.free_memory
    return {**budgets, **parse_budgets(written)}


def _limit(file: Path) -> float:
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return float("inf")  # no such file, or `max`
