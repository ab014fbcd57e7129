"""Budgets: what models may hold of each memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom_api.budget import find_budgets, parse_budgets
from torchloom_api.machine import DeviceView


def test_reads_budgets_by_device() -> None:
    """Devices that share a memory share its name; what is no device, or any, has no budget."""
    assert parse_budgets({"openvino:CPU": "1GiB", "cuda": 5}) == {"cpu": 1 << 30, "cuda:0": 5}
    with pytest.raises(ValueError, match="Unknown device 'gpu'"):
        parse_budgets({"gpu": "1GiB"})
    with pytest.raises(ValueError, match="'auto' names no memory"):
        parse_budgets({"auto": "1GiB"})


def test_finds_budgets_where_nothing_is_said(tmp_path: Path) -> None:
    """The machine's memory or its control group's, less a tenth; what is free of a CUDA device."""
    limit = tmp_path / "memory.max"
    devices = [
        DeviceView(device="cpu", name="x", memory=1000, free_memory=10),
        DeviceView(device="cuda:0", name="y", memory=500, free_memory=400),
        DeviceView(device="cuda:1", name="z"),
    ]
    assert find_budgets(devices, {}, limit_file=limit) == {"cpu": 900, "cuda:0": 400}
    limit.write_text("500\n")
    assert find_budgets(devices, {"cuda": 7}, limit_file=limit) == {"cpu": 450, "cuda:0": 7}
    limit.write_text("max\n")
    assert find_budgets(devices, {"cpu": "1KiB"}, limit_file=limit)["cpu"] == 1024
