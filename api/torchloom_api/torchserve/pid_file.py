"""PidFile: which process is the server of a temporary folder. Sends no signal by itself."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TextIO

import psutil


#: How much later than its file a process may have been made, for clocks that are coarse.
_SLACK_S: Final = 2.0

#: Is among the words of a server in the background: SageMaker's toolkit, for one, looks for it.
MARK: Final = "org.pytorch.serve.ModelServer"


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

        A process that was made after the file was written, or does not hold it, has only come by
        the same number: a temporary folder may outlive its container, or be shared by several.
        """
        try:
            process = psutil.Process(int(self.path.read_text()))
            is_server = process.create_time() <= self.path.stat().st_mtime + _SLACK_S
            is_server = is_server and self._is_held_by(process)
            is_alive = process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.Error):
            return None
        return process if is_server and is_alive else None

    def write(self, pid: int) -> None:
        """Write it whole: whoever looks finds a number or nothing."""
        self._put(pid).close()

    def _put(self, pid: int) -> TextIO:
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        file = temporary.open("w")
        file.write(str(pid))
        file.flush()
        temporary.replace(self.path)
        return file

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have this process in it, which holds it open, and is known by that; at the end none."""
        with self._put(os.getpid()):
            try:
                yield
            finally:
                self.remove(os.getpid())

    def remove(self, pid: int | None = None) -> None:
        """Remove it; with `pid`, only if that is what it holds."""
        if pid is not None and (process := self.read()) is not None and process.pid != pid:
            return
        self.path.unlink(missing_ok=True)

    def _is_held_by(self, process: psutil.Process) -> bool:
        """Tell whether it is a server, be it one that is about to hold the file."""
        if MARK in process.cmdline():
            return True
        try:
            return str(self.path.resolve()) in [file.path for file in process.open_files()]
        except psutil.AccessDenied:
            return True  # another user's, who alone may end it
