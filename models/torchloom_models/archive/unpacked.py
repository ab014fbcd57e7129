"""UnpackedStore: archives unpacked, each once, for as long as a worker uses it.

Workers of one archive share its folder. Each holds a lock that the system lets go of when a process
ends, however it ends; the last one removes the folder, and whoever opens an archive removes what
was left behind. Knows no handler.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from torchloom_models.archive.manifest import stem_of
from torchloom_models.archive.unpacking import unpack
from torchloom_models.artefact import digest_of_text


#: Of an archive's name, as much goes into that of its folder.
_MAX_STEM: Final = 64


class Unpacked:
    """A folder in use. `path` holds the archive's files, `packages` what belongs to it.

    They are one but for an archive that is a folder, to which nothing is added.
    """

    def __init__(self, path: Path, lock: int | None = None, packages: Path | None = None) -> None:
        self.path = path
        self.packages = packages or path
        self._lock = lock

    def close(self) -> None:
        """Let go of it; the last one removes it. What was not made for it stays."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            if _try_lock(lock):
                _remove(self.packages)
        finally:
            os.close(lock)


class UnpackedStore:
    """A folder of unpacked archives, which several processes share.

    `finish` is told where an archive's files are, and where to put what belongs to it. `state_of`
    says in a text on what of an archive that is a folder it depends; `variant` tells such folders
    from those without.
    """

    def __init__(
        self,
        root: Path,
        *,
        finish: Callable[[Path, Path], None] | None = None,
        state_of: Callable[[Path], str] = lambda _: "",
        variant: str = "",
    ) -> None:
        self._root = root
        self._finish = finish
        self._state_of = state_of
        self._variant = variant

    def open(self, source: Path) -> Unpacked:
        """Give the files of an archive; a folder is used as it lies there.

        Raises what `unpack`, `finish` and `state_of` do, and FileNotFoundError.
        """
        if source.is_dir() and self._finish is None:
            return Unpacked(source)
        self._root.mkdir(parents=True, exist_ok=True)
        name = self._name(source)
        lock = os.open(self._root / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._hold(source, name, lock)
        except BaseException:
            os.close(lock)
            raise
        self._sweep(name)
        made = self._root / name
        return Unpacked(source if source.is_dir() else made, lock, made)

    def _name(self, source: Path) -> str:
        """Name the folder of an archive: another one, or another state of it, has another name.

        A folder's own time of change tells nothing: Python writes `__pycache__` into it, and a file
        in it may change without it.
        """
        found = source.stat()
        if source.is_dir():
            state = [self._state_of(source)]
        else:
            state = [str(found.st_size), str(found.st_mtime_ns)]
        stem = "".join(each if each.isalnum() else "_" for each in stem_of(source))[:_MAX_STEM]
        place = (str(source.resolve()), str(found.st_ino), self._variant)
        return f"{stem}-{digest_of_text(*place, *state)}"

    def _hold(self, source: Path, name: str, lock: int) -> None:
        """Take a share of the lock with the folder there.

        Who unpacks is settled by a lock of its own, which is let go of once the folder is there:
        to wait until nobody else has a share would be to wait for the end of whoever was quicker.
        """
        turn = os.open(self._root / f"{name}.turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if not (self._root / name).is_dir():
                self._fill(source, name)
        finally:
            os.close(turn)

    def _fill(self, source: Path, name: str) -> None:
        """Unpack beside, then move into place: a folder is whole, or not there."""
        self._remove_rests(name)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}.part.", dir=self._root))
        try:
            if not source.is_dir():
                unpack(source, folder)
            if self._finish is not None:
                self._finish(source if source.is_dir() else folder, folder)
            folder.replace(self._root / name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _remove_rests(self, name: str) -> None:
        """Remove what was not unpacked, or removed, to its end."""
        for rest in self._root.glob(f"{name}.part.*"):
            shutil.rmtree(rest, ignore_errors=True)

    def _sweep(self, own: str) -> None:
        """Remove what processes have left behind that were killed."""
        for file in self._root.glob("*.lock"):
            name = file.name.removesuffix(".lock")
            if name == own:
                continue
            lock = os.open(file, os.O_RDWR | os.O_CLOEXEC)
            if _try_lock(lock):
                if (self._root / name).is_dir():
                    _remove(self._root / name)
                self._remove_rests(name)
            os.close(lock)


def _remove(folder: Path) -> None:
    """Remove a folder, which is whole or not there, also if this process is killed meanwhile."""
    rest = tempfile.mkdtemp(prefix=f"{folder.name}.part.", dir=folder.parent)
    shutil.rmtree(folder.replace(rest), ignore_errors=True)


def _try_lock(lock: int) -> bool:
    """Take a lock for this process alone, where nobody else has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
