"""`ts.torch_handler.unit_tests.test_utils.model_dir`: files for users' own tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path


def copy_files(
    src_dir: str | Path, dst_dir: str | Path, files: Mapping[str, str] | Iterable[str]
) -> None:
    """Copy files from one folder to another: from the names of a mapping to its values."""
    for file in files:
        target = files[file] if isinstance(files, Mapping) else file
        shutil.copy(Path(src_dir) / file, Path(dst_dir) / target)
