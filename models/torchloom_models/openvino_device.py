"""OpenVINO's devices: which there are, and what they are called. Knows no model and no torch.

Run as `python -m torchloom_models.openvino_device`, it prints them as a JSON list: the server asks
in a process of its own, which the drivers' libraries are loaded into.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from torchloom.errors import DeviceUnavailable


if TYPE_CHECKING:
    import openvino

#: Where each unit keeps its size of memory, if it has memory of its own.
_MEMORY = {"GPU": "GPU_DEVICE_TOTAL_MEM_SIZE", "NPU": "NPU_DEVICE_TOTAL_MEM_SIZE"}


def is_installed() -> bool:
    """Say whether the package is there."""
    return find_spec("openvino") is not None


@cache
def core() -> openvino.Core:
    """Give the process's one OpenVINO runtime. Raises DeviceUnavailable where there is none."""
    try:
        import openvino  # noqa: PLC0415 - only where one of its devices is asked for
    except ImportError as error:
        message = f"OpenVINO's devices need the package openvino (pip install openvino): {error}."
        raise DeviceUnavailable(message) from error
    return openvino.Core()


def keep_to_itself() -> None:
    """Keep OpenVINO's tools from telling their maker over the network what is converted here.

    They do so unless the user of this account has declined, or their package for it is missing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "is missing"


def check_unit(unit: str) -> None:
    """Raise DeviceUnavailable unless there is such a unit: `CPU`, `GPU`, `GPU.1`, `NPU`."""
    units = core().available_devices
    # One GPU is called `GPU`, of several each `GPU.0` and so on; either may be written.
    if unit in units or unit.removesuffix(".0") in units or f"{unit}.0" in units:
        return
    there = ", ".join(f"openvino:{each}" for each in units) or "none"
    raise DeviceUnavailable(f"There is no device 'openvino:{unit}' here: OpenVINO sees {there}.")


def is_native(unit: str, precision: str) -> bool:
    """Say whether a unit calculates in `BF16` or `FP16` itself, and not in float32 in its place."""
    return precision in core().get_property(unit, "OPTIMIZATION_CAPABILITIES")


def full_name(unit: str) -> str:
    """Give the name that the maker of a unit gave it. Raises DeviceUnavailable, or RuntimeError."""
    return str(core().get_property(unit, "FULL_DEVICE_NAME"))


def describe_units() -> list[dict[str, object]]:
    """Give `device`, `name` and, where it has its own, `memory` in bytes of every unit."""
    return [_describe(unit) for unit in core().available_devices]


def _describe(unit: str) -> dict[str, object]:
    described: dict[str, object] = {
        "device": f"openvino:{unit}",
        "name": full_name(unit),
    }
    memory = _MEMORY.get(unit.partition(".")[0])
    if memory is not None:
        described["memory"] = int(core().get_property(unit, memory))
    return described


if __name__ == "__main__":
    json.dump(describe_units(), sys.stdout)
