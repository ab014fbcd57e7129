"""Budgets: what models may hold of each memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom_api.budget import find_budgets, parse_budgets, parse_size
from torchloom_api.machine import DeviceView


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("12GiB", 12 << 30),
        ("0.5 MiB", 1 << 19),
        ("2GB", 2_000_000_000),
        ("77", 77),
        (77, 77),
        ("1B", 1),
    ],
)
def test_reads_amounts_of_memory(text: str | int, count: int) -> None:
    """Bytes, or a number with a unit of 1000 or 1024."""
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "12 apples", "-1", "1e9", "GiB", "0x10"])
def test_refuses_what_is_no_amount(text: str) -> None:
    """The message shows what to write."""
    with pytest.raises(ValueError, match="Write a number of bytes, or 12GiB"):
        parse_size(text)


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
