"""Cores: which worker runs on which cores of this machine, kept up as workers come and go.

The decision is in `placement.py`. Knows no model and no frame.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from torchloom.device import Device
from torchloom.placement import CoreShare, share_cores


_log = logging.getLogger(__name__)


def pin_process(pid: int, cores: Sequence[int]) -> None:
    """Keep every thread of a process on these cores, where the system can and it still lives."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)


class Cores:
    """The cores that this process may use, those reserved, and the workers who share the rest."""

    def __init__(
        self,
        cores: Sequence[int] | None = None,
        *,
        pin: Callable[[int, Sequence[int]], None] = pin_process,
    ) -> None:
        self._cores = sorted(os.sched_getaffinity(0)) if cores is None else list(cores)
        self._pin = pin
        self._reserved: dict[object, tuple[int, ...]] = {}
        #: The processes of those who share, once they have one.
        self._sharing: dict[object, int] = {}

    def take(self, worker: object, label: str, threads: int | None, device: Device) -> CoreShare:
        """Give a worker its share, until it is released."""
        taken = [core for cores in self._reserved.values() for core in cores]
        share = share_cores(threads, device, cores=self._cores, reserved=taken)
        if share.warning:
            _log.warning("Model %r %s", label, share.warning)
        if share.is_reserved:
            self._reserved[worker] = share.cores
            self._move_sharing()
        return share

    def settle(self, worker: object, share: CoreShare, pid: int) -> None:
        """Note the process of a worker; one that shares moves when reservations change."""
        if not share.is_reserved and not share.warning:
            self._sharing[worker] = pid
            # A reservation may have come while the process was being started.
            if self._reserved:
                self._move_sharing()

    def release(self, worker: object) -> None:
        """Take back what a worker had."""
        self._sharing.pop(worker, None)
        if self._reserved.pop(worker, None) is not None:
            self._move_sharing()

    def _move_sharing(self) -> None:
        taken = {core for cores in self._reserved.values() for core in cores}
        left = [core for core in self._cores if core not in taken] or self._cores
        for pid in self._sharing.values():
            self._pin(pid, left)
