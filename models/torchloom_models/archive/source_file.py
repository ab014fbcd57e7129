"""SourceFile: loads a module of an archive. Knows no archive.

An archive may be a folder of links, where its author works on it (see `workbench.py`). Tracebacks
and debuggers go by the name that the code has: it is that of the author's own file. `__file__` is
the link's, beside which the archive's other files are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path

from torchloom.worker_process import AT_TERMINAL


class SourceFile(SourceFileLoader):
    """Loads a file under the name that it has without links."""

    def __init__(self, fullname: str, path: str) -> None:
        super().__init__(fullname, os.path.realpath(path))

    def path_stats(self, path: str) -> Mapping[str, object]:
        """Tell by what bytecode is known to be of this file; raises OSError where none is used.

        It is known by the file's size and its second: of a file that is being worked on, two states
        may have the same.
        """
        if AT_TERMINAL in os.environ:
            raise OSError
        return super().path_stats(path)


def import_from(folder: Path) -> None:
    """Have whatever is imported from a folder, and from those in it, loaded by SourceFile."""
    loaders = ((ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceFile, SOURCE_SUFFIXES))

    def hook(path: str) -> FileFinder:
        if not Path(path).is_relative_to(folder):
            raise ImportError
        return FileFinder(path, *loaders)

    sys.path_hooks.insert(0, hook)
