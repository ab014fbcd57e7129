"""Unpacking: an archive's entries become files of a folder, and nothing beside it. Runs nothing.

An archive that was not made as archivers make it is refused whole: names that lead elsewhere, links
and devices, two entries of one name, more bytes than it says or than there is room for.
"""

from __future__ import annotations

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.archive.entry_name import find_fault, is_skipped
from torchloom_models.archive.manifest import MAX_BYTES


#: The most entries of an archive.
MAX_ENTRIES: Final = 100_000

#: Below this much, an archive may unpack to as many times its size as it likes; beyond, not.
BOMB_BYTES: Final = 1 << 30
BOMB_RATIO: Final = 200

#: How much is to stay free on the disk.
_SPARE_BYTES: Final = 64 << 20

_BLOCK: Final = 1 << 20

#: The most that is read of a tar at once: its headers may say any length.
_MAX_READ: Final = 16 << 20

#: What readers of broken archives raise.
_BROKEN: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    ValueError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or a folder of an archive, as it says itself."""

    name: str
    size: int
    is_folder: bool = False
    fault: str | None = None


def is_archive(path: Path) -> bool:
    """Tell a file that can be unpacked by its first bytes: zip, or tar in gzip."""
    with path.open("rb") as stream:
        start = stream.read(4)
    return start.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b"))


def unpack(source: Path, folder: Path) -> None:
    """Unpack an archive into an empty folder.

    The one top folder of a tar is left out. Raises InvalidModel for what no archiver has made, and
    ModelLoadError for an archive that is broken, or for which there is no room.
    """
    with _told(source):
        if _is_tar(source):
            _unpack_tar(source, folder)
        else:
            _unpack_zip(source, folder)


def read_entries(source: Path, is_wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Read some small files of an archive by name; nothing is unpacked.

    Raises InvalidModel and ModelLoadError as `unpack` does, also for a file that is not small.
    """
    with _told(source):
        return _read_tar(source, is_wanted) if _is_tar(source) else _read_zip(source, is_wanted)


def outline(source: Path, folder: Path) -> None:
    """Lay out an archive's files in an empty folder, all of them empty: names without contents.

    Raises InvalidModel and ModelLoadError as `unpack` does.
    """
    with _told(source):
        if _is_tar(source):
            with _opened(source) as archive:
                entries = [_of_tar(info) for info in _infos(archive)]
            names = [PurePosixPath(*PurePosixPath(each.name).parts[1:]) for each in entries]
        else:
            with zipfile.ZipFile(source) as zipped:
                infos = [info for info in zipped.infolist() if not is_skipped(info.filename)]
            entries = [_of_zip(info) for info in infos]
            names = [PurePosixPath(each.name) for each in entries]
        _Check(source, folder).all(entries)
        for entry, name in zip(entries, names, strict=True):
            target = folder / name
            if entry.is_folder:
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()


def _is_tar(source: Path) -> bool:
    with source.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


@contextmanager
def _told(source: Path) -> Iterator[None]:
    """Tell what readers of archives raise."""
    try:
        yield
    except _BROKEN as error:
        message = (
            f"{str(source)!r} is no archive, or it was cut short: {error}. Copy it again, or make "
            "it again with `torchloom archive`."
        )
        raise ModelLoadError(message) from error
    except OSError as error:
        message = f"{str(source)!r} cannot be unpacked: {error.strerror or error}."
        raise ModelLoadError(message) from error


def _read_zip(source: Path, is_wanted: Callable[[str], bool]) -> dict[str, bytes]:
    with zipfile.ZipFile(source) as archive:
        infos = [info for info in archive.infolist() if is_wanted(info.filename)]
        return {info.filename: _read_small(archive.open(info), info.filename) for info in infos}


def _read_tar(source: Path, is_wanted: Callable[[str], bool]) -> dict[str, bytes]:
    found = {}
    with _opened(source) as archive:
        for info in _infos(archive):
            name = str(PurePosixPath(*PurePosixPath(info.name).parts[1:]))
            stream = archive.extractfile(info) if info.isreg() and is_wanted(name) else None
            if stream is not None:
                found[name] = _read_small(stream, name)
    return found


def _read_small(stream: IO[bytes], name: str) -> bytes:
    with stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ModelLoadError(f"{name!r} has more than {MAX_BYTES} bytes, which are the most.")
    return data


def _unpack_zip(source: Path, folder: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        infos = [info for info in archive.infolist() if not is_skipped(info.filename)]
        _Check(source, folder).all(_of_zip(info) for info in infos)
        for info in infos:
            target = folder / info.filename
            if info.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            with archive.open(info) as stream:
                _write(stream, target, info.file_size)


def _of_zip(info: zipfile.ZipInfo) -> _Entry:
    mode = info.external_attr >> 16
    fault = None
    if info.flag_bits & 1:
        fault = "it is encrypted"
    elif mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
        fault = "it is a link or a device"
    return _Entry(info.filename, info.file_size, info.is_dir(), fault)


def _unpack_tar(source: Path, folder: Path) -> None:
    """Read it twice: nothing is written before all is known to be sound."""
    with _opened(source) as archive:
        _Check(source, folder).all(_of_tar(info) for info in _infos(archive))
    with _opened(source) as archive:
        for info in _infos(archive):
            inner = PurePosixPath(*PurePosixPath(info.name).parts[1:])
            if info.isdir():
                (folder / inner).mkdir(parents=True, exist_ok=True)
                continue
            stream = archive.extractfile(info)
            assert stream is not None, "it is a file"
            _write(stream, folder / inner, info.size)


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    with gzip.open(source) as stream:
        bounded = cast("IO[bytes]", _Bounded(stream))
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            yield archive


class _Bounded:
    """A stream that refuses to be read in one piece by a header that says so."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ:
            message = f"a header says that it has {size} bytes"
            raise tarfile.ReadError(message)
        return self._stream.read(size)


def _infos(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    return (info for info in archive if not is_skipped(info.name))


def _of_tar(info: tarfile.TarInfo) -> _Entry:
    fault = None
    if not (info.isreg() or info.isdir()) or info.issparse():
        fault = "it is a link or a device"
    elif info.isreg() and len(PurePosixPath(info.name).parts) == 1:
        fault = "it lies beside the one folder that a .tar.gz holds"
    return _Entry(info.name, info.size, info.isdir(), fault)


def _write(stream: IO[bytes], target: Path, size: int) -> None:
    """Write a file, which must be as long as was said: a bomb says less."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with target.open("xb") as file:
        while block := stream.read(_BLOCK):
            written += len(block)
            if written > size:
                break
            file.write(block)
    if written != size:
        message = f"the entry {target.name!r} has not the {size} bytes that it says"
        raise zipfile.BadZipFile(message)


@dataclass
class _Check:
    """Looks at all that an archive says of its entries, before anything is written."""

    source: Path
    folder: Path
    _names: set[str] = field(default_factory=set)

    def all(self, entries: Iterable[_Entry]) -> None:
        """Raise InvalidModel or ModelLoadError for an archive that is not to be unpacked.

        The sum is looked at with each entry: who reads a tar on unpacks it.
        """
        total = 0
        for number, entry in enumerate(entries, start=1):
            if number > MAX_ENTRIES:
                raise self._refuse(f"it has more than {MAX_ENTRIES} entries")
            self._check(entry)
            total += entry.size
            self._check_size(total)

    def _check(self, entry: _Entry) -> None:
        name = entry.name.rstrip("/") if entry.is_folder else entry.name
        fault = find_fault(name) or entry.fault
        if fault is None and name in self._names and not entry.is_folder:
            fault = "there are two of that name"
        if fault is not None:
            raise self._refuse(f"entry {entry.name[:200]!r}: {fault}")
        self._names.add(name)

    def _check_size(self, total: int) -> None:
        packed = max(self.source.stat().st_size, 1)
        if total > BOMB_BYTES and total > BOMB_RATIO * packed:
            raise self._refuse(f"its {packed} bytes would become {total}: it looks like a bomb")
        free = shutil.disk_usage(self.folder).free
        if total + _SPARE_BYTES > free:
            message = (
                f"There is no room to unpack {str(self.source)!r}: it takes {total} bytes, and "
                f"{free} are free where the store is."
            )
            raise ModelLoadError(message)

    def _refuse(self, why: str) -> InvalidModel:
        return InvalidModel(f"The archive {str(self.source)!r} is refused: {why}.")
