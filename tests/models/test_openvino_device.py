"""OpenVINO's devices, as it names them."""

from __future__ import annotations

import sys

import pytest

from torchloom.errors import DeviceUnavailable
from torchloom_models import openvino_device
from torchloom_models.openvino_device import check_unit, core, describe_units, is_native


class FakeCore:
    """A machine with two GPUs and an NPU."""

    available_devices = ("CPU", "GPU.0", "GPU.1", "NPU")

    def get_property(self, unit: str, name: str) -> object:
        """Give a name, what it can do, or a size."""
        if name == "OPTIMIZATION_CAPABILITIES":
            return ["FP32", "FP16"] if unit == "GPU.0" else ["FP32", "BF16"]
        return f"the {unit}" if name == "FULL_DEVICE_NAME" else 1 << 30


def test_takes_the_units_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of several GPUs may be left unnumbered, and an only one numbered 0."""
    monkeypatch.setattr(openvino_device, "core", FakeCore)

    for unit in ("CPU", "CPU.0", "GPU", "GPU.0", "GPU.1", "NPU"):
        check_unit(unit)
    for unit in ("GPU.2", "NPU.1", "TPU", "AUTO"):
        with pytest.raises(DeviceUnavailable, match=f"'openvino:{unit}'.*CPU.*GPU.1.*NPU"):
            check_unit(unit)


def test_describes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its full name, and its own memory where it has any."""
    monkeypatch.setattr(openvino_device, "core", FakeCore)

    assert describe_units()[:2] == [
        {"device": "openvino:CPU", "name": "the CPU"},
        {"device": "openvino:GPU.0", "name": "the GPU.0", "memory": 1 << 30},
    ]


def test_says_what_a_unit_calculates_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not calculate in, OpenVINO would take float32 for."""
    monkeypatch.setattr(openvino_device, "core", FakeCore)

    assert is_native("CPU", "BF16")
    assert not is_native("GPU.0", "BF16")
    assert is_native("GPU.0", "FP16")


def test_says_what_is_missing_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of OpenVINO needs OpenVINO; nothing else does."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    core.cache_clear()

    with pytest.raises(DeviceUnavailable, match="pip install openvino"):
        check_unit("CPU")
