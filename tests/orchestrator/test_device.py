"""Device, a value."""

from __future__ import annotations

import pytest

from torchloom.device import Device, is_on
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
    ("text", "words"),
    [("cpu:0", "'cpu' has no units. Leave '0' out"), ("auto:1", "no units"), ("cuda:x", "cuda:0")],
)
def test_refuses_units_that_a_kind_does_not_have(text: str, words: str) -> None:
    """There is one CPU, and CUDA's devices have numbers."""
    with pytest.raises(DeviceUnavailable, match=words):
        Device.parse(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [("openvino", "openvino:CPU"), ("openvino:npu", "openvino:NPU"), ("openvino:TPU", None)],
)
def test_names_openvinos_units_as_openvino_does(text: str, written: str | None) -> None:
    """Its units are in capitals, and CPU where none is named; which are there is seen later."""
    assert str(Device.parse(text)) == (written or text)


@pytest.mark.parametrize(
    ("hint", "device", "is_there"),
    [
        ("cuda", "cuda:1", True),
        ("cuda:0", "cuda", True),
        ("cuda:1", "cuda:0", False),
        ("cpu", "openvino:CPU", False),
        ("openvino", "openvino:CPU", True),
    ],
)
def test_tells_what_a_hint_names(hint: str, device: str, is_there: bool) -> None:  # noqa: FBT001 - a table
    """`cuda` names every CUDA device; a number, that one."""
    assert is_on(hint, device) is is_there
