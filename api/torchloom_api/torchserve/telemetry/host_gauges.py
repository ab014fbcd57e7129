"""What the host is at: its cores, memory, disk and GPUs, as TorchServe samples them."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psutil


_log = logging.getLogger(__name__)

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30

#: Seconds that a tool may take.
_TOOL_S: Final = 10.0

_QUERY: Final = "index,utilization.gpu,utilization.memory,memory.used,memory.total"

#: `CPUUtilization.Percent:0.0|#Level:Host|#hostname:…`: name, value, dimensions.
_LINE: Final = re.compile(r"^(?:\[METRICS\])?(\w+)\.[^:|\n]*:([^|\n]*)\|#([^|\n]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class HostValue:
    """A value of a metric; `device` is a GPU's number, or empty."""

    name: str
    value: float
    device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """What a GPU is at. Sizes in MiB, loads in percent; None where the driver says nothing."""

    index: int
    load: int | None
    memory_load: int | None
    memory_used: int | None
    memory_total: int | None

    def __str__(self) -> str:
        """Say it as TorchServe's descriptions of workers do."""

        def say(value: int | None, unit: str) -> str:
            return "N/A" if value is None else f"{value} {unit}"

        return (
            f"gpuId::{self.index} utilization.gpu::{say(self.load, '%')} "
            f"utilization.memory::{say(self.memory_load, '%')} "
            f"memory.used::{say(self.memory_used, 'MiB')}"
        )


def measure_host(disk: str = "/") -> Iterator[HostValue]:
    """Measure cores, disk and memory. The first load of cores is that since the process began."""
    yield HostValue("CPUUtilization", psutil.cpu_percent())
    usage = psutil.disk_usage(disk)
    yield HostValue("DiskAvailable", usage.free / _GIB)
    yield HostValue("DiskUsage", usage.used / _GIB)
    yield HostValue("DiskUtilization", usage.percent)
    memory = psutil.virtual_memory()
    yield HostValue("MemoryAvailable", memory.available / _MIB)
    yield HostValue("MemoryUsed", memory.used / _MIB)
    yield HostValue("MemoryUtilization", memory.percent)


def to_values(gpus: Mapping[int, GpuUse]) -> Iterator[HostValue]:
    """Give the metrics of GPUs."""
    for gpu in gpus.values():
        device = str(gpu.index)
        if gpu.memory_used is not None:
            yield HostValue("GPUMemoryUsed", gpu.memory_used, device)
            if gpu.memory_total:
                share = 100.0 * gpu.memory_used / gpu.memory_total
                yield HostValue("GPUMemoryUtilization", share, device)
        if gpu.load is not None:
            yield HostValue("GPUUtilization", gpu.load, device)


async def look_at_gpus() -> dict[int, GpuUse]:
    """Ask the driver's tool; nothing where there is none, or it takes too long."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    return read_gpus(await run_tool(tool, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"))


def read_gpus(text: str) -> dict[int, GpuUse]:
    """Read what `nvidia-smi` prints, a line each."""
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines()]
    found = [
        _to_gpu(row) for row in rows if len(row) == len(_QUERY.split(",")) and row[0].isdigit()
    ]
    return {gpu.index: gpu for gpu in found}


def _to_gpu(row: Sequence[str]) -> GpuUse:
    load, memory_load, used, total = (int(each) if each.isdigit() else None for each in row[1:])
    return GpuUse(
        index=int(row[0]),
        load=load,
        memory_load=memory_load,
        memory_used=used,
        memory_total=total,
    )


def read_values(text: str) -> Iterator[HostValue]:
    """Read what a command of `system_metrics_cmd` prints: lines as TorchServe's own has them."""
    for match in _LINE.finditer(text):
        name, value, dimensions = match.groups()
        device = next((d[9:] for d in dimensions.split(",") if d.startswith("DeviceId:")), "")
        try:
            yield HostValue(name, float(value), device)
        except ValueError:
            _log.warning("system_metrics_cmd gives %r for %s, which is no number", value, name)


async def run_tool(*command: str) -> str:
    """Give what a command prints; nothing where it cannot be run, or takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        _log.warning("%s cannot be run: %s", command[0], error)
        return ""
    try:
        async with asyncio.timeout(_TOOL_S):
            output, _ = await process.communicate()
    except TimeoutError:
        _log.warning("%s has not ended in %s s", command[0], _TOOL_S)
        process.kill()
        await process.wait()
        return ""
    return output.decode(errors="replace")
