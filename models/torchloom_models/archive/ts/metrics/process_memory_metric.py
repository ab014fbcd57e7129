"""`ts.metrics.process_memory_metric`: what processes hold."""

from __future__ import annotations

import logging
from typing import TextIO

import psutil


_log = logging.getLogger(__name__)


def get_cpu_usage(pid: str | int) -> int:
    """Give the resident memory of a process, in bytes; 0 where there is none."""
    try:
        return int(psutil.Process(int(pid)).memory_info().rss)
    except (ValueError, psutil.Error):
        _log.exception("Of process %s nothing can be told.", pid)
        return 0


def check_process_mem_usage(stdin: TextIO) -> None:
    """Read a line of process ids, by commas, and log `PID:BYTES` of each."""
    for pid in stdin.readline().strip().split(","):
        if pid:
            logging.info("%s:%d", pid, get_cpu_usage(pid))  # noqa: LOG015 - as its readers set it up


__all__ = ["check_process_mem_usage", "get_cpu_usage"]
