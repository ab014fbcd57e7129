"""An index's folder: immutable generations, and the one small file that says which is in force.

```
handbook.index/
    index.json              the generation in force, its facts, its size, its files
    generation-3f9a…/       the database's files, never changed once in force
    .lock                   held while a new generation is written
```
A build writes a new generation beside the old one, and then replaces `index.json` in one step:
whoever is killed, readers see the old index or the new one. Knows no database.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import msgspec
from filelock import FileLock, Timeout

from torchloom.errors import InvalidInput, ModelLoadError
from torchloom_models.index.passage import Metric
from torchloom_models.index.store import IndexBusy, Location


_FORMAT = 1
_MANIFEST = "index.json"
_PREFIX = "generation-"


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `index.json` holds. `files` gives the size in bytes of each file of the generation."""

    format: int = _FORMAT
    library: str
    generation: str
    num_passages: int
    dimension: int
    metric: Metric
    embedder: str | None
    files: dict[str, int]


#: Changes whenever another generation comes into force.
Stamp = tuple[int, int, int]


class IndexFolder:
    """One index on disk: read what is in force, and put a new generation in force."""

    def __init__(self, path: Path, location: Location) -> None:
        self.path = path
        self._location = location

    def stamp(self) -> Stamp | None:
        """Tell cheaply which manifest is there (None: no index)."""
        try:
            status = (self.path / _MANIFEST).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def manifest(self) -> Manifest:
        """Read the manifest. Raises ModelLoadError where there is none that makes sense."""
        try:
            manifest = msgspec.json.decode((self.path / _MANIFEST).read_bytes(), type=Manifest)
        except (FileNotFoundError, NotADirectoryError):
            self._fail("there is no index")
        except (msgspec.DecodeError, OSError) as error:
            self._fail(f"{_MANIFEST} cannot be read ({error})")
        if manifest.format != _FORMAT:
            self._fail(f"its format is {manifest.format}; this version reads {_FORMAT}")
        return manifest

    def generation(self, manifest: Manifest) -> Path:
        """Give the folder of the generation. Raises ModelLoadError if files lack or shrank."""
        folder = self.path / manifest.generation
        for name, size in manifest.files.items():
            try:
                found = (folder / name).stat().st_size
            except OSError:
                self._fail(f"the file {name} of {manifest.generation} is missing")
            if found != size:
                self._fail(f"the file {name} has {found} bytes in place of {size}")
        return folder

    def damaged(self, error: BaseException) -> NoReturn:
        """Raise ModelLoadError for what the database said when it opened a generation."""
        self._fail(
            f"it is damaged ({str(error).splitlines()[0] if str(error) else error!r})", error
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the right to write. Raises IndexBusy if another holds it, in any process.

        Raises InvalidInput where the folder is no index, or cannot be written. A killed holder's
        lock is free at once.
        """
        self._check_is_ours()
        lock = FileLock(self.path / ".lock", blocking=False)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            message = (
                f"Index {self._location.name!r} ({self.path}): another build of it is going on. "
                "Wait for that one to end, and try again."
            )
            raise IndexBusy(message) from error
        except OSError as error:
            message = f"Index {self._location.name!r}: {self.path} cannot be written: {error}."
            raise InvalidInput(message) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def new_generation(self) -> Iterator[Path]:
        """Give a fresh folder, the lock held; it goes again if the block raises."""
        try:
            self._sweep(keep=self.manifest().generation)
        except ModelLoadError:
            self._sweep(keep=None)  # no manifest, or none that leads to a generation
        folder = self.path / f"{_PREFIX}{secrets.token_hex(6)}"
        folder.mkdir()
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def publish(self, manifest: Manifest) -> None:
        """Put a generation in force, in one step, and remove the others."""
        draft = self.path / f"{_MANIFEST}.draft"
        with draft.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path / _MANIFEST)
        self._sweep(keep=manifest.generation)

    def _sweep(self, *, keep: str | None) -> None:
        """Remove generations that are not in force: old ones, and what a killed build has left."""
        for folder in self.path.glob(f"{_PREFIX}*"):
            if folder.name != keep:
                shutil.rmtree(folder, ignore_errors=True)

    def _check_is_ours(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise InvalidInput(f"{self.path} is a file; an index is a folder. Name another source.")
        names = {entry.name for entry in self.path.iterdir()}
        ours = {_MANIFEST, f"{_MANIFEST}.draft", ".lock"}
        strange = sorted(name for name in names - ours if not name.startswith(_PREFIX))
        if strange and _MANIFEST not in names:
            message = (
                f"{self.path} holds other files ({', '.join(strange[:3])}): it is no index, and "
                "none is built over it. Name another folder as `source`, or empty this one."
            )
            raise InvalidInput(message)

    def _fail(self, what: str, cause: BaseException | None = None) -> NoReturn:
        location = self._location
        message = f"Index {location.name!r} ({self.path}): {what}. {location.remedy}"
        raise ModelLoadError(message) from cause


def file_sizes(folder: Path) -> dict[str, int]:
    """Give the size in bytes of every file below `folder`, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
