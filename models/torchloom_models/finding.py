"""Finding: which device was the fastest for a model here, kept so that no start measures again.

Knows not who has found it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec
from filelock import FileLock, Timeout

from torchloom_models.hardware import DtypeName


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fastest device, and what it was measured in; seconds of each device, if any.

    `lost` says by device why the others did not run the model.
    """

    device: str
    dtype: DtypeName
    figures: dict[str, float]
    lost: dict[str, str]

    def __str__(self) -> str:
        """Say all of it in a line: `openvino:CPU 3.1 ms, cpu 5.2 ms: openvino:CPU`."""
        by_time = sorted(self.figures.items(), key=lambda item: item[1])
        times = ", ".join(f"{device} {seconds * 1000:.1f} ms" for device, seconds in by_time)
        chosen = f"{times}: {self.device}" if times else f"{self.device} alone is left"
        reasons = [f"not on {device}: {why}" for device, why in self.lost.items()]
        return "; ".join([chosen, *reasons])


class FindingStore:
    """A folder of findings, one file each; without a folder, nothing is kept or locked."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def find(self, digest: str) -> Finding | None:
        """Give the finding that was kept; None where there is none that can be read."""
        if self._root is None:
            return None
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode((self._root / f"{digest}.json").read_bytes(), type=Finding)
        return None

    def keep(self, digest: str, finding: Finding) -> None:
        """Keep a finding from now on; a reader sees all of it or none."""
        if self._root is None:
            return
        self._root.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self._root, delete=False) as file:
            file.write(msgspec.json.encode(finding))
        os.replace(file.name, self._root / f"{digest}.json")  # noqa: PTH105 - atomic, and says so

    @contextlib.contextmanager
    def lock(
        self, name: str, *, on_wait: Callable[[], None], max_wait_s: float = -1
    ) -> Iterator[None]:
        """Keep other processes from holding the same lock meanwhile; it ends with this process.

        `on_wait` is called where another one holds it. After `max_wait_s`, if 0 or more, it goes on
        without.
        """
        if self._root is None:
            yield
            return
        self._root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._root / f"{name}.lock")
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(lock.acquire(blocking=False))
            except Timeout:
                on_wait()
                with contextlib.suppress(Timeout):
                    held.enter_context(lock.acquire(timeout=max_wait_s))
            yield
