"""ArchiveFile: the small texts in an archive (manifest, configuration), without unpacking it.

Reads zip and tar files and folders, within bounds. Runs nothing of it.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, cast

import msgspec
import yaml

from torchloom.errors import TorchLoomError
from torchloom_models.archive.entry_name import find_fault


_MAX_BYTES: Final = 1 << 20

_TAR: Final = (".tar.gz", ".tgz")

#: What readers of broken archives raise.
_BROKEN: Final = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


class UnreadableArchive(TorchLoomError):
    """The file is no archive, or its manifest cannot be read."""

    title = "The archive cannot be read"


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """An archive of a model (`MAR-INF`) or a workflow (`WAR-INF`)."""

    path: Path

    def manifest(self, folder: str = "MAR-INF") -> dict[str, object] | None:
        """Read the manifest, or None where there is none. Raises UnreadableArchive."""
        text = self.read(f"{folder}/MANIFEST.json")
        if text is None:
            return None
        try:
            return msgspec.json.decode(text, type=dict[str, object])
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise UnreadableArchive(f"its manifest is no JSON object: {error}.") from error

    def mapping(self, name: str) -> Mapping[str, object]:
        """Read a YAML file of it that is a mapping. Raises UnreadableArchive."""
        text = self.read(name)
        if text is None:
            raise UnreadableArchive(f"it has no file {name!r}.")
        try:
            data = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise UnreadableArchive(f"{name} is no YAML: {error}.") from error
        if data is None:
            return {}
        if not isinstance(data, dict):
            raise UnreadableArchive(f"{name} is no mapping.")
        return cast("dict[str, object]", data)

    def check_names(self) -> None:
        """Raise UnreadableArchive for a zip with a name that leads elsewhere, or is none."""
        if self.path.is_dir() or self.path.name.endswith(_TAR):
            return
        try:
            with zipfile.ZipFile(self.path) as archive:
                names = [info.filename for info in archive.infolist()]
        except _BROKEN as error:
            raise UnreadableArchive(f"it cannot be opened: {error}.") from error
        for name in names:
            fault = find_fault(name.rstrip("/"))
            if fault is not None:
                raise UnreadableArchive(f"its entry {name[:200]!r} is refused: {fault}.")

    def read(self, name: str) -> bytes | None:
        """Read a file of it, or give None. Raises UnreadableArchive if it is too long."""
        try:
            text = self._read(name)
        except _BROKEN as error:
            raise UnreadableArchive(f"it cannot be opened: {error}.") from error
        if text is not None and len(text) > _MAX_BYTES:
            raise UnreadableArchive(f"{name} has more than {_MAX_BYTES} bytes.")
        return text

    def _read(self, name: str) -> bytes | None:
        if self.path.is_dir():
            file = self.path / name
            if not (file.is_file() and file.resolve().is_relative_to(self.path.resolve())):
                return None
            with file.open("rb") as opened:
                return opened.read(_MAX_BYTES + 1)
        if self.path.name.endswith(_TAR):
            return self._read_tar(name)
        with zipfile.ZipFile(self.path) as archive:
            if name not in archive.namelist():
                return None
            with archive.open(name) as member:
                return member.read(_MAX_BYTES + 1)

    def _read_tar(self, name: str) -> bytes | None:
        with tarfile.open(self.path) as archive:
            for member in archive:
                # All lies below one folder, whatever its name.
                place = PurePosixPath(*PurePosixPath(member.name).parts[1:])
                if member.isreg() and place == PurePosixPath(name):
                    file = archive.extractfile(member)
                    return file.read(_MAX_BYTES + 1) if file else None
        return None
