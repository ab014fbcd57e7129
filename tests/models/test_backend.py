"""Which ways to code go with which devices."""

from __future__ import annotations

import pytest

from torchloom.device import Device
from torchloom_models.backend import backend_of, find_clash, needs_openvino


@pytest.mark.parametrize(
    ("device", "backend", "weights"),
    [
        ("openvino:CPU", "auto", "full"),
        ("openvino:GPU", "openvino", "int4"),
        ("auto", "openvino", "int8"),
        ("auto", "inductor", "full"),
        ("cpu", "inductor", "full"),
        ("cuda:0", "eager", "full"),
    ],
)
def test_lets_what_fits_pass(device: str, backend: str, weights: str) -> None:
    """OpenVINO's devices take OpenVINO's code, every other device any other."""
    assert find_clash(Device.parse(device), backend=backend, weights=weights) is None


@pytest.mark.parametrize(
    ("device", "backend", "weights", "words"),
    [
        ("openvino:CPU", "eager", "full", "`compile: auto` in place of 'eager'"),
        ("openvino:NPU", "inductor", "full", "'openvino:NPU' runs what OpenVINO"),
        ("cpu", "openvino", "full", "write `devices: [openvino:CPU]`"),
        ("cuda:0", "auto", "int8", "int8 weights are for OpenVINO's devices, not for 'cuda:0'"),
        ("cpu", "auto", "int4", "leave `weights` out"),
    ],
)
def test_says_what_to_write_instead(device: str, backend: str, weights: str, words: str) -> None:
    """There is no silent other device, and no silent other code."""
    clash = find_clash(Device.parse(device), backend=backend, weights=weights)

    assert clash is not None
    assert words in clash


def test_reads_both_forms_of_compile() -> None:
    """A word, or a mapping that may leave the backend out."""
    assert backend_of("eager") == backend_of({"backend": "eager"}) == "eager"
    assert backend_of({"dynamic": False}) == "auto"


def test_tells_what_openvino_alone_can_do() -> None:
    """Its own code, and compressed weights."""
    assert needs_openvino({"compile": {"backend": "openvino"}})
    assert needs_openvino({"weights": "int4"})
    assert not needs_openvino({"compile": "inductor", "weights": "full"})
    assert not needs_openvino({})
