"""What a handler holds on its device."""

from __future__ import annotations

import subprocess
import sys

import pytest

from torchloom_models import hardware
from torchloom_models.archive.footprint import held_bytes


def test_asks_torch_for_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere the process's growth is what counts."""
    monkeypatch.setattr(hardware, "reserved_bytes", len)

    assert (held_bytes("cpu"), held_bytes("cuda:0")) == (0, 6)


def test_imports_no_torch_on_the_cpu() -> None:
    """A worker on the CPU has it only if its handler imports it."""
    code = (
        "import sys\n"
        "import torchloom_models.archive.opening as opening\n"
        "from torchloom.device import Device\n"
        "from torchloom_models.archive.footprint import held_bytes\n"
        "held_bytes(opening._place_of(Device.parse('cpu'), {}))\n"
        "print('torch' in sys.modules)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
