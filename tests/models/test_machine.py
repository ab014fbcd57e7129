"""Facts about a machine, and how two machines differ."""

from __future__ import annotations

import platform

import pytest

from torchloom.errors import DeviceUnavailable
from torchloom_models import machine
from torchloom_models.machine import COMMON, fact_of, facts_of, find_differences


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """Let no test see what another has looked up."""
    fact_of.cache_clear()


def test_finds_no_difference_on_the_machine_itself() -> None:
    """What was compiled here runs here."""
    facts = facts_of((*COMMON, "no-such-package"))

    assert facts["machine"] == platform.machine()
    assert facts["no-such-package"] == "none"
    assert find_differences(facts) == []


def test_names_what_differs() -> None:
    """Each difference is told by name, with both values; other packages do not matter."""
    facts = {**facts_of(COMMON), "torch": "1.0", "nncf-of-old": "2.0"}

    assert find_differences(facts) == [
        f"torch 1.0 (here {fact_of('torch')})",
        "nncf-of-old 2.0 (here none)",
    ]


def test_names_the_instructions_that_a_processor_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two lists of a hundred flags, those that differ are what one wants to see."""
    monkeypatch.setattr(machine, "_PLATFORM", {"processor": lambda: "fpu sse avx"})

    assert find_differences({"processor": "fpu sse avx512f"}) == [
        "the processor here lacks avx512f and has besides avx"
    ]
    assert find_differences({"processor": "sse fpu avx"}) == [
        "the processor here lists its instructions otherwise"
    ]


def test_asks_openvino_for_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is not there is no error: it is a difference."""

    def full_name(unit: str) -> str:
        if unit != "CPU":
            raise DeviceUnavailable(unit)
        return "Some Processor 9000"

    monkeypatch.setattr(machine, "full_name", full_name)

    assert facts_of(["openvino:CPU", "openvino:GPU"]) == {
        "openvino:CPU": "Some Processor 9000",
        "openvino:GPU": "none",
    }
