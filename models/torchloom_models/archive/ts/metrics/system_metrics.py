"""`ts.metrics.system_metrics`: what the host is at, as metrics that scripts print.

The server measures its host by itself (`system_metrics_cmd`).
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import types
from typing import Final

import psutil

from torchloom_models.archive.metric import Dimension
from torchloom_models.archive.ts.metrics.metric import Metric


#: What was measured so far.
system_metrics: list[Metric] = []

#: The dimensions of all that is not of one GPU.
dimension: list[Dimension] = [Dimension("Level", "Host")]

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30

_ROOT: Final = "/"

#: Seconds that the driver's tool may take.
_TOOL_S: Final = 10.0

_QUERY: Final = "--query-gpu=index,memory.used,memory.total,utilization.gpu"

#: What of a module is no measurement.
_NO_MEASUREMENTS: Final = ("collect_all", "log_msg")


def cpu_utilization() -> None:
    """Measure the load of all cores."""
    _add("CPUUtilization", psutil.cpu_percent(), "percent")


def memory_used() -> None:
    """Measure the memory in use."""
    _add("MemoryUsed", psutil.virtual_memory().used / _MIB, "MB")


def memory_available() -> None:
    """Measure the memory that is left."""
    _add("MemoryAvailable", psutil.virtual_memory().available / _MIB, "MB")


def memory_utilization() -> None:
    """Measure the share of the memory that is in use."""
    _add("MemoryUtilization", psutil.virtual_memory().percent, "percent")


def disk_used() -> None:
    """Measure the disk in use."""
    _add("DiskUsage", psutil.disk_usage(_ROOT).used / _GIB, "GB")


def disk_utilization() -> None:
    """Measure the share of the disk that is in use."""
    _add("DiskUtilization", psutil.disk_usage(_ROOT).percent, "percent")


def disk_available() -> None:
    """Measure the disk that is left."""
    _add("DiskAvailable", psutil.disk_usage(_ROOT).free / _GIB, "GB")


def gpu_utilization(num_of_gpu: int | None) -> None:
    """Measure each GPU, by `nvidia-smi`; nothing where there are none."""
    tool = shutil.which("nvidia-smi")
    if not num_of_gpu or num_of_gpu < 0 or tool is None:
        return
    done = subprocess.run(  # noqa: S603 - the driver's own tool
        [tool, _QUERY, "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        timeout=_TOOL_S,
        check=True,
    )
    for line in done.stdout.splitlines():
        index, used, total, load = (part.strip() for part in line.split(","))
        own = [*dimension, Dimension("DeviceId", index)]
        if used.isdigit() and total.isdigit():
            _add("GPUMemoryUtilization", 100 * int(used) / int(total), "percent", own)
            _add("GPUMemoryUsed", int(used), "MB", own)
        if load.isdigit():
            _add("GPUUtilization", int(load), "percent", own)


def collect_all(mod: types.ModuleType, num_of_gpu: int | None) -> None:
    """Call every public function of a module, and log all that was measured, a line each."""
    for name, value in sorted(vars(mod).items()):
        if not isinstance(value, types.FunctionType) or name.startswith("_"):
            continue
        if name == "gpu_utilization":
            value(num_of_gpu)
        elif name not in _NO_MEASUREMENTS:
            value()
    for each in system_metrics:
        logging.info(str(each))  # noqa: LOG015 - as the script that calls it has set it up
    logging.info("")  # noqa: LOG015 - the end of it


def _add(name: str, value: float, unit: str, dimensions: list[Dimension] | None = None) -> None:
    system_metrics.append(Metric(name, value, unit, dimensions or dimension))
