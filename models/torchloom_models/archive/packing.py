"""Packing: members and a manifest to a file or folder. Writes it whole, or nothing.

Knows the layouts that TorchServe reads; knows not what a manifest says.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Final

from torchloom_models.archive.archiver_error import ArchiverError
from torchloom_models.archive.member import Member


_log = logging.getLogger(__name__)

#: What a model or workflow may be named.
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_\-.]*$"

#: Writes members and the manifest (its name in the archive, and its text) to a path.
Writer = Callable[[Path, Sequence[Member], PurePosixPath, str], None]


def check_name(name: str, what: str) -> None:
    """Refuse a name that could not be a file's. `what` is `model` or `workflow`."""
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise ArchiverError(
            f"{what.capitalize()} name contains special characters.\n"
            f"The allowed regular expression filter for {what} name is: {NAME_PATTERN}"
        )


def to_target(folder: str | Path, name: str, *, what: str, force: bool) -> Path:
    """Give where the archive goes, making its folder. Raises ArchiverError where it may not."""
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise ArchiverError(
            f"Given export-path {folder} is not a directory. "
            "Point to a valid export-path directory."
        )
    target = place.absolute() / name
    if target.exists() and not force:
        raise ArchiverError(
            f"{target} already exists.\n"
            f"Please specify --force/-f option to overwrite the {what} archive output file.\n"
            "See -h/--help for more details."
        )
    if target.exists():
        _log.warning("Overwriting %s ...", target)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiverError(f"Cannot make the folder {place}: {error.strerror}.") from error
    return target


def to_manifest(**parts: object) -> str:
    """Write a manifest: when it was made, its parts, and by what."""
    try:
        writer = f"torchloom {version('torchloom')}"
    except PackageNotFoundError:
        writer = "torchloom"
    made = datetime.now().astimezone().strftime("%d/%m/%Y %H:%M:%S")
    manifest: Mapping[str, object] = {"createdOn": made, **parts, "archiverVersion": writer}
    return json.dumps(manifest, indent=2)


def write_zip(
    target: Path, members: Sequence[Member], manifest_name: PurePosixPath, manifest: str
) -> None:
    """Write a zip file, deflated."""
    _write_zip(target, members, manifest_name, manifest, zipfile.ZIP_DEFLATED)


def write_stored(
    target: Path, members: Sequence[Member], manifest_name: PurePosixPath, manifest: str
) -> None:
    """Write a zip file whose members are stored as they are."""
    _write_zip(target, members, manifest_name, manifest, zipfile.ZIP_STORED)


def write_tgz(
    target: Path, members: Sequence[Member], manifest_name: PurePosixPath, manifest: str
) -> None:
    """Write a tar file, with all of it below a folder that is named as the file is."""
    root = PurePosixPath(target.name.removesuffix(".tar.gz"))
    text = manifest.encode()
    with (
        _replacing(target) as temporary,
        tarfile.open(temporary, "w:gz", dereference=True) as archive,
    ):
        for member in members:
            archive.add(member.source, str(root / member.name), recursive=False)
        info = tarfile.TarInfo(str(root / manifest_name))
        info.size, info.mtime = len(text), int(time.time())
        archive.addfile(info, io.BytesIO(text))


def write_folder(
    target: Path, members: Sequence[Member], manifest_name: PurePosixPath, manifest: str
) -> None:
    """Write a folder. One that was there is replaced, so that nothing old is left in it."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        temporary.chmod(0o755)
        for member in members:
            file = temporary / member.name
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(member.source, file)
        file = temporary / manifest_name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(manifest, encoding="utf-8")
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_links(
    target: Path, members: Sequence[Member], manifest_name: PurePosixPath, manifest: str
) -> None:
    """Write a folder that is new, whose files lead to the members': a change of those shows."""
    for member in members:
        file = target / member.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(member.source.absolute())
    file = target / manifest_name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(manifest, encoding="utf-8")


def _write_zip(
    target: Path,
    members: Sequence[Member],
    manifest_name: PurePosixPath,
    manifest: str,
    method: int,
) -> None:
    with (
        _replacing(target) as temporary,
        # Files from before 1980 are in containers whose clock is reset: zip has no such date.
        zipfile.ZipFile(temporary, "w", method, strict_timestamps=False) as archive,
    ):
        for member in members:
            archive.write(member.source, str(member.name))
        archive.writestr(str(manifest_name), manifest)


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Give a file beside the target that takes its place at the end, or goes if that fails."""
    if target.is_dir():
        raise ArchiverError(f"{target} is a folder. Remove it, or choose another export-path.")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
