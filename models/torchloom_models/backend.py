"""Backend: which ways to code go with which devices. Imports no framework, and compiles nothing.

OpenVINO's devices run what OpenVINO converts, and nothing else; no other device does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torchloom.device import Device


#: What a model file may name as `compile`, or as its `backend`.
Backend = Literal["auto", "eager", "inductor", "openvino"]

BACKENDS: tuple[Backend, ...] = ("auto", "eager", "inductor", "openvino")

#: How weights are kept: as they are, or compressed to so many bits.
WeightFormat = Literal["full", "int8", "int4"]

WEIGHT_FORMATS: tuple[WeightFormat, ...] = ("full", "int8", "int4")


def backend_of(value: object) -> object:
    """Give the backend that `compile:` names, in its short or its long form."""
    return value.get("backend", "auto") if isinstance(value, Mapping) else value


def needs_openvino(config: Mapping[str, object]) -> bool:
    """Say whether a model file asks for what OpenVINO's devices alone can do."""
    is_named = backend_of(config.get("compile", "auto")) == "openvino"
    return is_named or config.get("weights", "full") != "full"


def find_clash(device: Device, *, backend: object, weights: object) -> str | None:
    """Say why a device cannot run what the model file asks for; None where it can.

    `auto` can be any device, and so is left to whoever chooses.
    """
    if device.kind == "openvino":
        if backend in {"auto", "openvino"}:
            return None
        return (
            f"{str(device)!r} runs what OpenVINO has converted, and nothing else: write "
            f"`compile: auto` in place of {str(backend)!r}, or another device."
        )
    if device.kind == "auto":
        return None
    if backend == "openvino":
        return f"OpenVINO's code does not run on {str(device)!r}: write `devices: [openvino:CPU]`."
    if weights != "full":
        return (
            f"{weights} weights are for OpenVINO's devices, not for {str(device)!r}: write "
            "`devices: [openvino:CPU]`, or leave `weights` out."
        )
    return None
