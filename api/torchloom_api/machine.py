"""Machine: the devices that are plugged in here. Asks the system, and imports no framework.

OpenVINO's devices are looked for once, by a process of its own: its drivers are not this server's.
"""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
from collections.abc import Sequence
from typing import Final

import msgspec
import psutil

from torchloom.device import Device, is_on
from torchloom_models.openvino_device import is_installed


_MIB: Final = 1024 * 1024

#: Seconds that the driver's tool may take.
_TIMEOUT_S: Final = 5.0

_QUERY: Final = "--query-gpu=index,name,memory.total,memory.free,utilization.gpu"


#: What the look for OpenVINO's devices printed, once there has been one.
_openvino_text = ""


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """A device, named as model files name it. Sizes in bytes; `load` is 0 to 1.

    `budget`: what models may hold of its memory; `used`: what they hold, OpenVINO's on the CPU
    included.
    """

    device: str
    name: str
    memory: int | None = None
    free_memory: int | None = None
    budget: int | None = None
    used: int | None = None
    cores: int | None = None
    load: float | None = None


async def find_devices() -> Sequence[DeviceView]:
    """List the CPU, every CUDA device that the driver tells of, and what OpenVINO finds."""
    return [_describe_cpu(), *await _find_cuda(), *await _find_openvino()]


async def find_memories() -> Sequence[DeviceView]:
    """List the devices whose memory is told without starting anything large: CPU and CUDA."""
    return [_describe_cpu(), *await _find_cuda()]


def is_there(device: Device, found: Sequence[DeviceView]) -> bool:
    """Tell whether a device that a model file names is among those that were found.

    One GPU of OpenVINO's is called `GPU`, of several each `GPU.0` and so on; either may be written.
    """
    if device.kind == "auto":
        return True
    names = {str(device), f"{device}.0", str(device).removesuffix(".0")}
    return any(is_on(str(device), each.device) or each.device in names for each in found)


def _describe_cpu() -> DeviceView:
    memory = psutil.virtual_memory()
    cores = (
        len(psutil.Process().cpu_affinity() or []) if hasattr(psutil.Process, "cpu_affinity") else 0
    )
    return DeviceView(
        device="cpu",
        name=platform.processor() or platform.machine(),
        memory=memory.total,
        free_memory=memory.available,
        cores=cores or psutil.cpu_count(),
        load=psutil.cpu_percent() / 100.0,
    )


async def _find_cuda() -> list[DeviceView]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    return read_devices(await _output_of(tool, _QUERY, "--format=csv,noheader,nounits"))


async def _output_of(*command: str) -> str:
    """Give what a command prints; nothing where it takes too long."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""
    return output.decode(errors="replace")


async def _find_openvino() -> list[DeviceView]:
    global _openvino_text  # noqa: PLW0603 - what is plugged in stays: one look a process
    if not _openvino_text and is_installed():
        _openvino_text = await _output_of(sys.executable, "-m", "torchloom_models.openvino_device")
    return read_openvino(_openvino_text)


def read_openvino(text: str) -> list[DeviceView]:
    """Read what `torchloom_models.openvino_device` prints; nothing where it has ended early."""
    try:
        return msgspec.json.decode(text, type=list[DeviceView])
    except msgspec.DecodeError:
        return []


def read_devices(text: str) -> list[DeviceView]:
    """Read what `nvidia-smi` prints, a line each: index, name, MiB, MiB free, percent busy."""
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines()]
    return [
        _to_device(row) for row in rows if len(row) == len(_QUERY.split(",")) and row[0].isdigit()
    ]


def _to_device(row: Sequence[str]) -> DeviceView:
    index, name, total, free, busy = row
    return DeviceView(
        device=f"cuda:{index}",
        name=name,
        memory=int(total) * _MIB if total.isdigit() else None,
        free_memory=int(free) * _MIB if free.isdigit() else None,
        load=int(busy) / 100.0 if busy.isdigit() else None,
    )
