"""Devices and dtypes, as torch names them."""

from __future__ import annotations

import pytest
import torch

from torchloom.device import Device
from torchloom.errors import DeviceUnavailable
from torchloom_models.hardware import DtypeName, dtype_of, label_of, place_of, reserved_bytes


pytestmark = pytest.mark.slow


def have_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Make torch see so many CUDA devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("device", "count", "place"),
    [
        ("cpu", 2, "cpu"),
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cuda", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_gives_torchs_name(
    monkeypatch: pytest.MonkeyPatch, device: str, count: int, place: str
) -> None:
    """`auto` takes a GPU where there is one."""
    have_gpus(monkeypatch, count)

    assert place_of(Device.parse(device)) == place


@pytest.mark.parametrize("device", ["cuda", "cuda:2"])
def test_says_which_devices_there_are(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """A device that is not plugged in is refused, with those that are."""
    have_gpus(monkeypatch, 0 if device == "cuda" else 2)

    with pytest.raises(DeviceUnavailable, match="torch sees cpu"):
        place_of(Device.parse(device))


@pytest.mark.parametrize(
    ("name", "place", "stored", "dtype"),
    [
        ("auto", "cpu", torch.bfloat16, torch.float32),
        ("auto", "cuda:0", torch.bfloat16, torch.bfloat16),
        ("auto", "cuda:0", None, torch.float32),
        ("bfloat16", "cpu", torch.float32, torch.bfloat16),
        ("float16", "cuda:0", torch.float32, torch.float16),
    ],
)
def test_gives_the_dtype(
    name: DtypeName, place: str, stored: torch.dtype | None, dtype: torch.dtype
) -> None:
    """What is written holds; `auto` is exact on a CPU, and as stored elsewhere."""
    assert dtype_of(name, place=place, stored=stored) == dtype


def test_places_openvinos_devices_on_torchs_cpu() -> None:
    """Tensors come from there; the device is reported by its own name, any other by its place."""
    pytest.importorskip("openvino")
    device = Device.parse("openvino")

    assert place_of(device) == "cpu"
    assert label_of(device, "cpu") == "openvino:CPU"
    assert label_of(Device("auto"), "cuda:0") == "cuda:0"
    with pytest.raises(DeviceUnavailable, match="'openvino:TPU' here: OpenVINO sees openvino:CPU"):
        place_of(Device.parse("openvino:TPU"))


def test_asks_the_allocator_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's memory is its allocator's; of the CPU's it says nothing."""
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: {"cuda:1": 5}[device])
    assert reserved_bytes("cuda:1") == 5
    assert reserved_bytes("cpu") == reserved_bytes("openvino:CPU") == 0
