"""What the host is at."""

from __future__ import annotations

import sys

import pytest

from torchloom_api.torchserve.telemetry.host_gauges import (
    HostValue,
    measure_host,
    read_gpus,
    read_values,
    run_tool,
    to_values,
)


def test_measures_the_host() -> None:
    """By TorchServe's names, in its order and units."""
    values = {each.name: each.value for each in measure_host()}

    assert list(values) == [
        "CPUUtilization",
        "DiskAvailable",
        "DiskUsage",
        "DiskUtilization",
        "MemoryAvailable",
        "MemoryUsed",
        "MemoryUtilization",
    ]
    assert 0 <= values["DiskUtilization"] <= 100
    assert values["MemoryUsed"] > 1


def test_reads_what_the_driver_says() -> None:
    """A line each; what it does not know is left out."""
    gpus = read_gpus("0, 5, 3, 511, 81559\n1, [N/A], [N/A], 0, 81559\nNo devices were found\n")

    assert list(map(str, gpus.values())) == [
        "gpuId::0 utilization.gpu::5 % utilization.memory::3 % memory.used::511 MiB",
        "gpuId::1 utilization.gpu::N/A utilization.memory::N/A memory.used::0 MiB",
    ]
    assert list(to_values(gpus)) == [
        HostValue("GPUMemoryUsed", 511, "0"),
        HostValue("GPUMemoryUtilization", 100.0 * 511 / 81559, "0"),
        HostValue("GPUUtilization", 5, "0"),
        HostValue("GPUMemoryUsed", 0, "1"),
        HostValue("GPUMemoryUtilization", 0.0, "1"),
    ]


def test_reads_what_an_own_command_says(caplog: pytest.LogCaptureFixture) -> None:
    """Lines of TorchServe's form; others are passed over."""
    text = (
        "hello\n"
        "CPUUtilization.Percent:12.5|#Level:Host|#hostname:vm,timestamp:1\n"
        "[METRICS]GPUUtilization.Percent:7|#Level:Host,DeviceId:1|#hostname:vm,1\n"
        "DiskUsage.Gigabytes:lots|#Level:Host|#hostname:vm,timestamp:1\n"
    )

    assert list(read_values(text)) == [
        HostValue("CPUUtilization", 12.5),
        HostValue("GPUUtilization", 7.0, "1"),
    ]
    assert "'lots' for DiskUsage" in caplog.text


async def test_runs_tools(caplog: pytest.LogCaptureFixture) -> None:
    """One that is not there says nothing, and that is told."""
    assert await run_tool(sys.executable, "-c", "print('said')") == "said\n"
    assert await run_tool("/no/such/tool") == ""
    assert "/no/such/tool cannot be run" in caplog.text
