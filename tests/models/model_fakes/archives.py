"""Archives for tests, made as archivers make them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path


HANDLERS = Path(__file__).parents[1] / "archive" / "handlers"

#: What an archive holds, by name.
Files = Mapping[str, str | bytes]

SHOUT = {"models/__init__.py": "def shout(text):\n    return text.upper()\n"}


def manifest_of(name: str, handler: str, **model: object) -> str:
    """Write a manifest as archivers do."""
    return json.dumps(
        {
            "createdOn": "26/11/2026 10:00:00",
            "runtime": "python",
            "model": {
                "modelName": name,
                "handler": handler,
                "modelVersion": "1.0",
                **model,
            },
            "archiverVersion": "0.12.0",
        },
        indent=2,
    )


def files_of(
    name: str, handler: str, files: Files | None = None, **model: object
) -> dict[str, str | bytes]:
    """Give all files of an archive around one of the handlers of these tests."""
    found = {"MAR-INF/MANIFEST.json": manifest_of(name, handler, **model), **(files or {})}
    file = handler.partition(":")[0]
    source = HANDLERS / file
    if source.is_file() and file not in found:
        found[file] = source.read_text()
    return found


def write_mar(path: Path, files: Files, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a `.mar`."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def write_tar(path: Path, files: Files, top: str = "model") -> Path:
    """Write a `.tar.gz`: all below one folder."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            data = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_folder(path: Path, files: Files) -> Path:
    """Write an archive that is none: `no-archive`."""
    for name, text in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def make_mar(
    folder: Path, name: str, handler: str, files: Files | None = None, **model: object
) -> Path:
    """Make a `.mar` around a handler of these tests."""
    return write_mar(folder / f"{name}.mar", files_of(name, handler, files, **model))
