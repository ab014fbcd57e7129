"""Preparation: an archive unpacked, with the packages that it asks for, if it may have them.

Whoever registers an archive may do this before there is a worker: workers find it done.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torchloom_models.archive.files import ArchiveFiles
from torchloom_models.archive.requirements import has_own_packages, install, state_of
from torchloom_models.archive.unpacked import UnpackedStore


def store_of(config: Mapping[str, object], source: Path) -> UnpackedStore:
    """Give where archives are unpacked; opening one there raises what `install` does, too.

    `config` is an engine's: `archives`, `install_requirements`, `name` and `handler` count.
    """
    root = config.get("archives")
    folder = Path(str(root)) if root else Path(tempfile.gettempdir()) / "torchloom-archives"
    if not config.get("install_requirements"):
        return UnpackedStore(folder)

    def read(lying: Path) -> tuple[Path | None, bool]:
        files = ArchiveFiles.read(lying, source, handler=cast("str", config.get("handler")))
        name = files.manifest.requirements_file
        return None if name is None else lying / name, has_own_packages(files.config)

    def finish(lying: Path, packages: Path) -> None:
        file, has_venv = read(lying)
        if file is not None:
            install(packages, file, model=str(config.get("name")), has_venv=has_venv)

    def describe(lying: Path) -> str:
        file, has_venv = read(lying)
        return "" if file is None else state_of(file, has_venv=has_venv)

    return UnpackedStore(folder, finish=finish, state_of=describe, variant="requirements")
