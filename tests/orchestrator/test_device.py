"""Device, a value."""

from __future__ import annotations

import pytest

from torchloom.device import Device
from torchloom.errors import DeviceUnavailable


@pytest.mark.parametrize("text", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "openvino:GPU.0"])
def test_reads_what_it_writes(text: str) -> None:
    """Parsing and rendering are inverse."""
    assert str(Device.parse(text)) == text
    assert Device.parse(text) == Device.parse(text)


@pytest.mark.parametrize("text", ["", "cpu\n", "CPU", "cuda:", "cuda:0:1", "tpu", "cuda 0", ":0"])
def test_refuses_what_is_no_device(text: str) -> None:
    """Anything else is refused, with what could be written instead."""
    with pytest.raises(DeviceUnavailable, match="Write one of: auto, cpu, cuda, openvino, cuda:0"):
        Device.parse(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [("openvino", "openvino:CPU"), ("openvino:npu", "openvino:NPU"), ("openvino:TPU", None)],
)
def test_names_openvinos_units_as_openvino_does(text: str, written: str | None) -> None:
    """Its units are in capitals, and CPU where none is named; which are there is seen later."""
    assert str(Device.parse(text)) == (written or text)
