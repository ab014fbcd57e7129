"""`ts.torch_handler.unit_tests.test_utils.model_dir`: files for users' own tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path


def copy_files(src: str, dst: str, files: Iterable[str]) -> None:
    """Copy files from one folder to another."""
    for file in files:
        shutil.copy(Path(src) / file, Path(dst) / file)
