"""PidFile: which process is the server of a temporary folder. Sends no signal by itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil


#: How much later than its file a process may have been made, for clocks that are coarse.
_SLACK_S: Final = 2.0

#: One of these is in the words of every server, behind the Python that runs it.
_NAMES: Final = ("torchserve", "torchloom", "ts.model_server", "ts.llm_launcher")


@dataclass(frozen=True, slots=True)
class PidFile:
    """`.model_server.pid` of a temporary folder: there is one server for each folder."""

    path: Path

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> Self:
        """Give the one of the folder that TEMP names, or of the system's."""
        return cls(Path(environment.get("TEMP") or tempfile.gettempdir()) / ".model_server.pid")

    def read(self) -> psutil.Process | None:
        """Give the server's process, if it lives.

        A process that was made after the file was written, or is called otherwise, has only come by
        the same number: a temporary folder may outlive its container, or be shared by several.
        """
        try:
            process = psutil.Process(int(self.path.read_text()))
            is_server = process.create_time() <= self.path.stat().st_mtime + _SLACK_S
            is_server = is_server and _is_named(process)
            is_alive = process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.Error):
            return None
        return process if is_server and is_alive else None

    def write(self, pid: int) -> None:
        """Write it whole: whoever looks finds a number or nothing."""
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        temporary.write_text(str(pid))
        temporary.replace(self.path)

    def remove(self, pid: int | None = None) -> None:
        """Remove it; with `pid`, only if that is what it holds."""
        if pid is not None and (process := self.read()) is not None and process.pid != pid:
            return
        self.path.unlink(missing_ok=True)


def _is_named(process: psutil.Process) -> bool:
    return any(name in word for word in process.cmdline()[1:] for name in _NAMES)
