"""Members: the files that an archive is to hold, each under its name. Writes nothing.

Which files are left out is as torch-model-archiver 0.12 has it, observed from what it writes.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from torchloom_models.archive.archiver_error import MissingFile


_log = logging.getLogger(__name__)

#: Folders that are left out, besides those whose name begins with a dot.
_LEFT_OUT: Final = frozenset({"__pycache__", "__MACOSX"})

_WILDCARDS: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive: its name there, and where its bytes come from."""

    name: PurePosixPath
    source: Path


def to_member(path: Path) -> Member:
    """Take one file that was named, under its last name. Raises MissingFile."""
    if not path.is_file():
        what = "This is a folder, not a file" if path.is_dir() else "File does not exist"
        raise MissingFile(f"{what}: {path}")
    return Member(name=PurePosixPath(path.name), source=path)


def find_extra(text: str | None) -> Iterator[Member]:
    """Find what `--extra-files` names: files, folders (their contents) and patterns, by commas.

    A pattern that finds nothing is warned of. Raises MissingFile for a name that is not there.
    """
    for part in (text or "").split(","):
        if part and not _WILDCARDS.isdisjoint(part):
            yield from _find_matching(part)
        elif part and Path(part).is_dir():
            yield from _walk(Path(part))
        elif part:
            yield to_member(Path(part))


def by_name(members: Iterable[Member]) -> list[Member]:
    """Keep one member of each name, the last that was named, and sort them."""
    kept: dict[PurePosixPath, Member] = {}
    for member in members:
        other = kept.get(member.name)
        if other is not None and other.source.resolve() != member.source.resolve():
            _log.warning("%s takes the place of %s", member.source, other.source)
        kept[member.name] = member
    return [kept[name] for name in sorted(kept)]


def _find_matching(pattern: str) -> Iterator[Member]:
    found = sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern may be absolute
    if not found:
        _log.warning("Given wildcard pattern did not match any file: %s", pattern)
    for path in map(Path, found):
        if path.is_dir():
            yield from _walk(path)
        else:
            yield to_member(path)


def _walk(root: Path) -> Iterator[Member]:
    """Walk through a folder; links are followed, but not to where the walk has been already."""
    return _walk_below(root, PurePosixPath(), frozenset({root.resolve()}))


def _walk_below(folder: Path, prefix: PurePosixPath, above: frozenset[Path]) -> Iterator[Member]:
    for path in sorted(folder.iterdir()):
        name = prefix / path.name
        if path.is_file():
            yield Member(name=name, source=path)
        elif not path.is_dir():
            _log.warning("Left out: %s is no file", path)
        elif path.name not in _LEFT_OUT and not path.name.startswith("."):
            place = path.resolve()
            if place in above:
                _log.warning("Left out: %s leads back to a folder above it", path)
            else:
                yield from _walk_below(path, name, above | {place})
