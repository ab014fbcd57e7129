"""Device, a value."""

from __future__ import annotations

import pytest

from torchloom.device import Device
from torchloom.errors import DeviceUnavailable


@pytest.mark.parametrize("text", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_reads_what_it_writes(text: str) -> None:
    """Parsing and rendering are inverse."""
    assert str(Device.parse(text)) == text
    assert Device.parse(text) == Device.parse(text)


@pytest.mark.parametrize("text", ["", "cpu\n", "CPU", "cuda:", "cuda:0:1", "tpu", "cuda 0", ":0"])
def test_refuses_what_is_no_device(text: str) -> None:
    """Anything else is refused, with what could be written instead."""
    with pytest.raises(DeviceUnavailable, match="Write one of: auto, cpu, cuda, cuda:0"):
        Device.parse(text)
