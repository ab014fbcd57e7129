"""Hardware: which of torch's devices a worker runs on, and in which dtype. Knows no model.

OpenVINO's devices are places of torch's CPU: tensors come from there and go back there.
"""

from __future__ import annotations

from typing import Literal

import torch

from torchloom.device import Device
from torchloom.errors import DeviceUnavailable
from torchloom_models.openvino_device import check_unit


DtypeName = Literal["auto", "float32", "bfloat16", "float16"]


def place_of(device: Device) -> str:
    """Give torch's name for a device: `cpu`, or `cuda:0`. `auto` is CUDA where there is any.

    That of an OpenVINO device is `cpu`. Raises DeviceUnavailable for a device that is not there.
    """
    if device.kind == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if device.kind == "cpu":
        return "cpu"
    if device.kind == "openvino":
        check_unit(device.unit)
        return "cpu"
    count = torch.cuda.device_count()
    number = int(device.unit or 0)
    if number >= count:
        there = ", ".join(["cpu", *(f"cuda:{each}" for each in range(count))])
        message = f"There is no device {str(device)!r} here: torch sees {there}."
        raise DeviceUnavailable(message)
    return f"cuda:{number}"


def label_of(device: Device, place: str) -> str:
    """Give the name under which a device that is at `place` is reported, and keys are made."""
    return str(device) if device.kind == "openvino" else place


def dtype_of(name: DtypeName, *, place: str, stored: torch.dtype | None) -> torch.dtype:
    """Give torch's dtype. `auto` is float32 on a CPU, and elsewhere that of the stored weights."""
    named = {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    if name != "auto":
        return named[name]
    return torch.float32 if place == "cpu" or stored is None else stored


def reserved_bytes(device: str) -> int:
    """Give what torch's allocator holds on a CUDA device; 0 on any other, which it cannot tell."""
    return torch.cuda.memory_reserved(device) if device.startswith("cuda") else 0
