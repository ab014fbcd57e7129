"""Workbench: a handler that is being written, with its files, laid out as its archive would be.

All that lies beside the handler is the archive's, and what is named from elsewhere. Watches nothing
by itself: whoever looks twice sees what has changed. Knows no server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from torchloom_models.archive.archiver_error import ArchiverError
from torchloom_models.archive.manifest import PLACE, Manifest
from torchloom_models.archive.member import Member, by_name, find_extra, to_member
from torchloom_models.archive.packing import to_manifest, write_links


#: Each file's time of change, size and number, by where it is.
Look = Mapping[Path, tuple[int, int, int]]

#: Endings of files that, when they change, change what a handler does.
_CODE: Final = (".py", ".so")
_VALUES: Final = (".yaml", ".yml", ".json", ".toml", ".txt", ".csv", ".vocab")
_WEIGHTS: Final = (".pt", ".pth", ".pt2", ".bin", ".safetensors", ".onnx", ".model", ".pkl")
_WATCHED: Final = frozenset({*_CODE, *_VALUES, *_WEIGHTS})

#: Folders that belong to tools.
_APART: Final = frozenset({"__pycache__", "__MACOSX", "node_modules", PLACE.parts[0]})

#: The most files that a folder may have: the folder of a handler has few, somebody's home many.
MAX_FILES: Final = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFiles:
    """What the command line names, as `torchloom archive` has it."""

    serialized_file: str | None = None
    model_file: str | None = None
    extra_files: str | None = None
    config_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What is served, from where. `folder`: None where a built-in handler has named files alone.

    A `handler` or an `envelope` that is None is the manifest's to say.
    """

    name: str
    folder: Path | None
    handler: str | None = None
    envelope: str | None = None
    named: NamedFiles = NamedFiles()

    def look(self) -> Look:
        """See how the files are that matter. Raises ArchiverError where there are too many."""
        seen = {}
        for path in self._watched():
            try:
                state = path.stat()
            except OSError:
                continue  # gone since, or a link to nothing
            seen[path] = (state.st_mtime_ns, state.st_size, state.st_ino)
        return seen

    def lay_out(self, target: Path) -> None:
        """Make a folder as if an archive of it all had been unpacked there; its files are links.

        Raises ArchiverError, MissingFile, InvalidModel for a manifest that is none, and OSError.
        """
        manifest = self._to_manifest()
        members = by_name([*self._own(), *self._named(), *find_extra(self.named.extra_files)])
        write_links(target, members, PLACE, manifest)

    def authored(self) -> list[Path]:
        """Give the folders that its author's files lie in, the main one first; without links."""
        own = [] if self.folder is None else [self.folder]
        elsewhere = [member.source.parent for member in self._named()]
        extra = [member.source.parent for member in find_extra(self.named.extra_files)]
        return list(dict.fromkeys(each.resolve() for each in [*own, *elsewhere, *extra]))

    def _watched(self) -> Iterator[Path]:
        if self.folder is not None:
            yield self.folder / PLACE
        yield from (each.source for each in self._own() if each.source.suffix in _WATCHED)
        named = self.named
        for file in (named.serialized_file, named.model_file, named.config_file):
            if file:
                yield Path(file)
        for part in (named.extra_files or "").split(","):
            path = Path(part)
            if part and path.is_dir():
                yield from (each.source for each in _files_of(path))
            elif part:
                yield path

    def _own(self) -> Iterator[Member]:
        return iter(()) if self.folder is None else _files_of(self.folder)

    def _named(self) -> list[Member]:
        named = self.named
        files = (named.serialized_file, named.model_file, named.config_file)
        return [to_member(Path(file)) for file in files if file]

    def _to_manifest(self) -> str:
        """Write the manifest: the author's own, if there is one, and what was said besides."""
        document = _read_manifest(self.folder) or {}
        model = document.get("model")
        named = self.named
        said = {
            "modelName": self.name,
            "handler": self.handler,
            "serializedFile": named.serialized_file and Path(named.serialized_file).name,
            "modelFile": named.model_file and Path(named.model_file).name,
            "configFile": named.config_file and Path(named.config_file).name,
            "envelope": self.envelope,
        }
        own = model if isinstance(model, dict) else {}
        whole = {"modelVersion": "1.0", **own, **{k: v for k, v in said.items() if v}}
        return to_manifest(**{"runtime": "python", **document, "model": whole})


def _read_manifest(folder: Path | None) -> dict[str, object] | None:
    """Give the manifest that a folder has, if it has one. Raises InvalidModel."""
    manifest = find_manifest(folder)
    if manifest is None:
        return None
    own = ("createdOn", "archiverVersion")
    return {key: value for key, value in manifest.document.items() if key not in own}


def find_manifest(folder: Path | None) -> Manifest | None:
    """Read the manifest of an unpacked archive; None where there is none. Raises InvalidModel."""
    file = None if folder is None else folder / PLACE
    if file is None or not file.is_file():
        return None
    return Manifest.parse(file.read_bytes(), source=str(folder))


def _files_of(folder: Path) -> Iterator[Member]:
    """Walk through a folder; links are followed, and no folder is walked through twice."""
    count = 0
    walked: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        is_new = real not in walked
        walked.add(real)
        folders[:] = sorted(each for each in folders if is_new and not _is_apart(Path(place, each)))
        below = PurePosixPath(Path(place).relative_to(folder))
        for name in sorted(names) if is_new else ():
            count += 1
            if count > MAX_FILES:
                raise ArchiverError(
                    f"{folder} has more than {MAX_FILES} files, all of which would be watched. "
                    "Give the handler and what belongs to it a folder of their own."
                )
            yield Member(name=below / name, source=Path(place, name))


def _is_apart(folder: Path) -> bool:
    """Tell folders of tools, and environments of Python, from the author's."""
    is_tool = folder.name.startswith(".") or folder.name in _APART
    return is_tool or (folder / "pyvenv.cfg").is_file()
