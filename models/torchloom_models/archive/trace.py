"""Trace: where in the files of an archive's author something was raised, and how it is shown.

Frames before the first of the author's are the server's own, and are left out. Knows no archive.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, and the function that it is in, if in any."""

    file: Path
    line: int
    function: str = ""

    def __str__(self) -> str:
        """Write it as editors and terminals know it."""
        return f"{self.file}:{self.line}" + (f" in {self.function}" if self.function else "")


@dataclass(frozen=True, slots=True)
class Authored:
    """The folders that an author's files lie in; those of the first are called by short names."""

    folders: Sequence[Path]

    @classmethod
    def of(cls, names: object) -> Self:
        """Make it of what an engine's config says."""
        assert isinstance(names, list), "a list of folders"
        return cls([Path(name) for name in names])

    def find(self, error: BaseException) -> Place | None:
        """Give the author's line that was the last to be run; of a wrong syntax, where it is."""
        if isinstance(error, SyntaxError) and error.filename and self._has(error.filename):
            return self._place(error.filename, error.lineno or 1)
        own = [
            self._place(frame.f_code.co_filename, line, frame.f_code.co_name)
            for frame, line in traceback.walk_tb(error.__traceback__)
            if self._has(frame.f_code.co_filename)
        ]
        return own[-1] if own else None

    def show(self, error: BaseException) -> None:
        """Print an error with its trace, from the author's first line on."""
        trace = self._cut(error.__traceback__)
        if trace is None and not isinstance(error, SyntaxError):  # that says its own line
            trace = error.__traceback__
        traceback.print_exception(type(error), error, trace)
        sys.stderr.flush()

    def _cut(self, trace: TracebackType | None) -> TracebackType | None:
        while trace is not None and not self._has(trace.tb_frame.f_code.co_filename):
            trace = trace.tb_next
        return trace

    def _place(self, file: str, line: int, function: str = "") -> Place:
        path = Path(file)
        first = self.folders[0] if self.folders else path
        short = path.relative_to(first) if path.is_relative_to(first) else path
        return Place(short, line, "" if function == "<module>" else function)

    def _has(self, file: str) -> bool:
        return any(Path(file).is_relative_to(folder) for folder in self.folders)
