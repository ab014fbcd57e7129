"""The devices of this machine."""

from __future__ import annotations

import json

import pytest

from torchloom.device import Device
from torchloom_api.machine import DeviceView, is_there, read_devices, read_openvino


def test_reads_what_the_drivers_tool_prints() -> None:
    """Each line is a device, named as model files name it, with sizes in bytes."""
    text = "0, NVIDIA H100 80GB HBM3, 81559, 81000, 25\n1, NVIDIA A10G, 23028, [N/A], [N/A]\n"

    assert read_devices(text) == [
        DeviceView(
            device="cuda:0",
            name="NVIDIA H100 80GB HBM3",
            memory=81559 << 20,
            free_memory=81000 << 20,
            load=0.25,
        ),
        DeviceView(device="cuda:1", name="NVIDIA A10G", memory=23028 << 20),
    ]


def test_finds_nothing_in_an_error_message() -> None:
    """What is no list of devices is no device."""
    assert read_devices("NVIDIA-SMI has failed, because it, could not, talk, to the driver") == []


def test_reads_openvinos_devices() -> None:
    """Each is named as model files name it; a look that failed finds none."""
    gpu = {"device": "openvino:GPU", "name": "Arc", "memory": 8}
    text = json.dumps([{"device": "openvino:CPU", "name": "Xeon"}, gpu])

    assert read_openvino(text) == [
        DeviceView(device="openvino:CPU", name="Xeon"),
        DeviceView(device="openvino:GPU", name="Arc", memory=8),
    ]
    assert read_openvino("") == read_openvino("Segmentation fault") == []


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("auto", True),
        ("cpu", True),
        ("cuda", True),
        ("cuda:1", True),
        ("cuda:0", False),
        ("openvino:GPU", True),
        ("openvino:GPU.0", True),
        ("openvino:GPU.1", False),
        ("openvino:NPU.0", True),
        ("openvino:CPU", False),
    ],
)
def test_tells_which_devices_are_there(device: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """As model files may name them."""
    there = ("cpu", "cuda:1", "openvino:GPU.0", "openvino:NPU")
    found = [DeviceView(device=name, name="") for name in there]
    assert is_there(Device.parse(device), found) is expected
