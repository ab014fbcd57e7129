"""The devices of this machine."""

from __future__ import annotations

from torchloom_api.machine import DeviceView, read_devices


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
