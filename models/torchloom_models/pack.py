"""Pack: artefacts in one file, to be carried to another machine of the same kind.

A zip without compression. Its manifest comes first: the format, and for each artefact what it is
and the size and hash of each of its files. Reading trusts nothing of it: what is not exactly as the
manifest says, or does not fit this machine, is refused, and the store stays as it was. But code is
code: a pack's hashes find damage, not malice. Compiles nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from torchloom.errors import TorchLoomError
from torchloom_models.artefact import ABOUT, NAME, About, Artefact, ArtefactStore, write_about
from torchloom_models.machine import find_differences


#: How pack files are named.
SUFFIX: Final = ".tlpack"

_FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_MAX_MANIFEST: Final = 16 * 1024 * 1024
_MAX_FILES: Final = 10_000
_CHUNK: Final = 1024 * 1024
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)


class InvalidPack(TorchLoomError):
    """A pack that is damaged, or not for this machine. Nothing of it was taken."""

    title = "The pack cannot be used"


class PackedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of an artefact; `sha256` in hexadecimal."""

    name: str
    size: int
    sha256: str


class PackedArtefact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An artefact and its files."""

    name: str
    about: About
    files: list[PackedFile]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pack holds."""

    format: int
    artefacts: list[PackedArtefact]


def write_pack(path: Path, artefacts: Sequence[Artefact]) -> None:
    """Write artefacts to one file, whole or not at all."""
    manifest = Manifest(format=_FORMAT, artefacts=[_pack(artefact) for artefact in artefacts])
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_MANIFEST, msgspec.json.encode(manifest))
            for artefact, packed in zip(artefacts, manifest.artefacts, strict=True):
                for file in packed.files:
                    archive.write(artefact.folder / file.name, f"{packed.name}/{file.name}")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def unpack(path: Path, store: ArtefactStore) -> dict[str, bool]:
    """Put a pack's artefacts into a store; give their names, and whether each is new there.

    Raises InvalidPack, and OSError where the store cannot be written; it is then as it was.
    """
    with _opened(path) as archive:
        manifest = _read_manifest(archive, path)
        _check_entries(archive, manifest, path)
        _check_machine(manifest, path)
        store.root.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".unpack.", dir=store.root))
        try:
            for packed in manifest.artefacts:
                _extract(archive, packed, staging / packed.name, path)
            return {packed.name: _take(packed, staging, store) for packed in manifest.artefacts}
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _pack(artefact: Artefact) -> PackedArtefact:
    files = []
    for file in sorted(artefact.folder.iterdir()):
        if file.name != ABOUT:
            with file.open("rb") as data:
                digest = hashlib.file_digest(data, "sha256").hexdigest()
            files.append(PackedFile(name=file.name, size=file.stat().st_size, sha256=digest))
    return PackedArtefact(name=artefact.name, about=artefact.about, files=files)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a pack, and turn all that can be wrong with a zip into InvalidPack."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, struct.error) as error:
        raise _invalid(path, f"it is cut short or damaged ({error})") from error


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    entries = archive.infolist()
    if not entries or entries[0].filename != _MANIFEST:
        raise _invalid(path, f"it does not begin with {_MANIFEST}: it is no pack of artefacts")
    if len(entries) > _MAX_FILES:
        raise _invalid(path, f"it holds {len(entries)} files, more than {_MAX_FILES}")
    if entries[0].file_size > _MAX_MANIFEST:
        raise _invalid(path, f"its manifest is longer than {_MAX_MANIFEST} bytes")
    _check_stored(entries[0], path)
    text = b"".join(_chunks(archive, entries[0], path))
    try:
        version = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("format", b"")
        if bytes(version) != b"%d" % _FORMAT:
            wanted = f"this TorchLoom reads the format {_FORMAT}"
            raise _invalid(path, f"its format is {bytes(version).decode()[:20]!r}, and {wanted}")
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid(path, f"its manifest does not read: {error}") from error


def _check_entries(archive: zipfile.ZipFile, manifest: Manifest, path: Path) -> None:
    """See that the archive holds just what the manifest tells of, by names that lead nowhere."""
    sizes = {_MANIFEST: archive.infolist()[0].file_size}
    for artefact in manifest.artefacts:
        if not NAME.fullmatch(artefact.name):
            raise _invalid(path, f"{artefact.name[:80]!r} is no name of an artefact")
        for file in artefact.files:
            if not _FILE_NAME.fullmatch(file.name) or file.name == ABOUT:
                raise _invalid(path, f"{file.name[:80]!r} is no name for a file of an artefact")
            sizes[f"{artefact.name}/{file.name}"] = file.size
    names = [entry.filename for entry in archive.infolist()]
    of_manifest = 1 + sum(len(artefact.files) for artefact in manifest.artefacts)
    if len({name.casefold() for name in names}) < len(names) or of_manifest != len(sizes):
        raise _invalid(path, "it holds two files of one name")
    odd = sorted(set(names) ^ set(sizes))
    if odd:
        raise _invalid(path, f"archive and manifest do not agree on {odd[0][:80]!r}")
    for entry in archive.infolist():
        _check_stored(entry, path)
        if entry.file_size != sizes[entry.filename]:
            raise _invalid(path, f"{entry.filename!r} is not as long as its manifest says")
    if sum(sizes.values()) > path.stat().st_size:
        raise _invalid(path, "its files are larger than itself")


def _check_stored(entry: zipfile.ZipInfo, path: Path) -> None:
    """Refuse what is compressed (and may be a bomb), encrypted, or no plain file."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise _invalid(path, f"{entry.filename[:80]!r} is compressed")
    if entry.flag_bits & 0x1 or entry.is_dir() or kind not in (0, stat.S_IFREG):
        raise _invalid(path, f"{entry.filename[:80]!r} is no plain file")


def _check_machine(manifest: Manifest, path: Path) -> None:
    for artefact in manifest.artefacts:
        if not artefact.about.facts:
            raise _invalid(path, f"{artefact.name!r} does not say what it was made for")
        differences = find_differences(artefact.about.facts)
        if differences:
            what = "; ".join(differences)
            raise _invalid(path, f"it was made on another kind of machine: {what}")


def _extract(archive: zipfile.ZipFile, packed: PackedArtefact, folder: Path, path: Path) -> None:
    """Write an artefact's files, and check each hash."""
    folder.mkdir(mode=0o700)
    for file in packed.files:
        entry = archive.getinfo(f"{packed.name}/{file.name}")
        digest = hashlib.sha256()
        with (folder / file.name).open("xb") as to:
            _copy(_chunks(archive, entry, path), to, digest)
        if digest.hexdigest() != file.sha256:
            raise _invalid(path, f"{entry.filename!r} is damaged: its hash differs")
    write_about(folder, packed.about)


def _copy(chunks: Iterator[bytes], to: BinaryIO, digest: hashlib._Hash) -> None:
    for chunk in chunks:
        digest.update(chunk)
        to.write(chunk)


def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Iterator[bytes]:
    """Read an entry, and no more of it than it says."""
    left = entry.file_size
    with archive.open(entry) as data:
        while chunk := data.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise _invalid(path, f"{entry.filename[:80]!r} is longer than it says")
            yield chunk
    if left:
        raise _invalid(path, f"{entry.filename[:80]!r} is cut short")


def _take(packed: PackedArtefact, staging: Path, store: ArtefactStore) -> bool:
    """Move an artefact into place, unless it is there."""
    with store.lock(packed.name):
        if store.find(packed.name) is not None:
            return False
        os.replace(staging / packed.name, store.root / packed.name)  # noqa: PTH105 - atomic
        return True


def _invalid(path: Path, why: str) -> InvalidPack:
    return InvalidPack(f"The pack {str(path)!r} is refused: {why}.")
