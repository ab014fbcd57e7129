"""Store: what was registered, as text files that are written whole or not at all. Knows no format.

A document lives in `FOLDER/KIND/NAME@VERSION.EXTENSION`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torchloom.errors import InvalidInput


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_FILE = re.compile(rf"({_NAME.pattern})@([0-9]+)\.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A document as it lies in the store."""

    kind: str
    name: str
    version: int
    text: str
    path: Path


class Store:
    """A folder of documents.

    After a crash in the middle of a write, the old or the new one is there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, kind: str, name: str, version: int, text: str) -> Path:
        """Write a document, in place of one that was there."""
        path = self._path(kind, name, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        return path

    def remove(self, kind: str, name: str, version: int) -> None:
        """Remove a document; nothing happens if it is not there."""
        path = self._path(kind, name, version)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _sync_folder(path.parent)

    def documents(self, kind: str) -> Iterator[Stored]:
        """Give every document of a kind, by name and version."""
        matches = [_FILE.fullmatch(path.name) for path in (self.folder / kind).glob("*.yaml")]
        found = sorted((match[1], int(match[2]), match[0]) for match in matches if match)
        for name, version, file in found:
            path = self.folder / kind / file
            text = path.read_text(encoding="utf-8")
            yield Stored(kind=kind, name=name, version=version, text=text, path=path)

    def _path(self, kind: str, name: str, version: int) -> Path:
        if not _NAME.fullmatch(name):
            message = (
                f"{name!r} cannot be a name: use letters, digits, '_', '-' and '.', up to 128."
            )
            raise InvalidInput(message)
        return self.folder / kind / f"{name}@{version}.yaml"


def _sync_folder(folder: Path) -> None:
    """Make a rename or removal in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
