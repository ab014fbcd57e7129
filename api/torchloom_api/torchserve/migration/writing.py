"""Writing: the files of a plan into a new folder, with the notes as a page to read."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

import yaml

from torchloom.errors import TorchLoomError
from torchloom_api.torchserve.migration.plan import Plan
from torchloom_models.archive.unpacking import unpack


#: The most that files of a workflow's archive may hold together.
_MAX_BYTES: Final = 1 << 30

_PAGE: Final = "MIGRATION.md"


class CannotMigrate(TorchLoomError):
    """Nothing was written; the message says why."""

    title = "The migration cannot be written"


def write_plan(plan: Plan, target: Path) -> None:
    """Write a plan into `target`, which must not be there, whole or not at all."""
    if target.exists():
        raise CannotMigrate(f"{target} is there already. Name a folder that is not.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        temporary.chmod(0o755)
        for place, document in plan.documents.items():
            text = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True)
            _write(temporary / place, text.encode())
        for place, archive in plan.unpacked.items():
            _unpack(archive, temporary / place)
        for place, archive in plan.models.items():
            (temporary / place).mkdir(parents=True)
            unpack(archive, temporary / place)
        _write(temporary / _PAGE, _to_page(plan).encode())
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(file: Path, text: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text)


def _unpack(path: Path, folder: Path) -> None:
    """Unpack the files of a workflow's archive, less its manifest. Links are not followed."""
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        if sum(info.file_size for info in members) > _MAX_BYTES:
            raise CannotMigrate(f"{path.name} holds more than {_MAX_BYTES} bytes.")
        for info in members:
            place = PurePosixPath(info.filename)
            if place.is_absolute() or ".." in place.parts or "\\" in info.filename:
                raise CannotMigrate(f"{path.name} holds {info.filename!r}, which leads elsewhere.")
            if place.parts[0] != "WAR-INF":
                _write(folder / place, archive.read(info))


def _to_page(plan: Plan) -> str:
    subjects: dict[str, list[str]] = {}
    for note in plan.notes:
        subjects.setdefault(note.subject, []).append(note.message)
    lines = ["# What the migration did not carry over, or did in its own way", ""]
    if not subjects:
        lines += ["Nothing was lost.", ""]
    for subject, messages in subjects.items():
        lines += [f"## {subject}", "", *(f"- {message}" for message in messages), ""]
    return "\n".join(lines)
