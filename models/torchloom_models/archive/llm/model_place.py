"""ModelPlace: where the files are that an archive names: in it, on this machine, or in the hub.

Knows the folders of the hub's cache, and reads no weights.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torchloom.errors import InvalidModel


_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")

#: How the hub's cache names the folder of a repository.
_CACHED: Final = "models--"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlace:
    """Where relative words lead. `folder` holds the archive's files.

    `download_dir`: a cache of the hub's, which is looked into before the hub is asked.
    """

    folder: Path
    whose: str
    revision: str = "main"
    download_dir: Path | None = None

    def find(self, words: str, key: str) -> str:
        """Give the source that a model file is to name. `key` is where the archive says it.

        Raises InvalidModel for what is neither here nor an id of the hub.
        """
        path = self.folder / words
        if _is_there(path):
            return str(self._unwrap(path))
        if _HUB_ID.fullmatch(words) is None:
            message = (
                f"`{key}: {words}` of {self.whose} is not there: the archive has no such file, "
                "this machine has none, and it is no id of the hub (organisation/name). Put it "
                "into the archive by --extra-files, or write an absolute path."
            )
            raise InvalidModel(message)
        cached = None
        if self.download_dir is not None:
            name = _CACHED + words.replace("/", "--")
            cached = find_snapshot(self.download_dir / name, self.revision)
        return f"hf://{words}@{self.revision}" if cached is None else str(cached)

    def _unwrap(self, path: Path) -> Path:
        """Give a model's own folder where a path leads to what the hub's cache has around it."""
        if not path.is_dir() or (path / "config.json").exists():
            return path
        repositories = [path, *sorted(path.glob(f"{_CACHED}*"))]
        found = [find_snapshot(each, self.revision) for each in repositories]
        snapshots = [each for each in found if each is not None]
        return snapshots[0] if len(snapshots) == 1 else path


def _is_there(path: Path) -> bool:
    """Tell whether there is such a file or folder; words that no path has lead to none."""
    try:
        return path.exists()
    except OSError:
        return False


def find_snapshot(repository: Path, revision: str) -> Path | None:
    """Give the files of a repository at a revision, as the hub's cache has them.

    Of a cache that does not know the revision, the only snapshot; None where there is none.
    """
    folder = repository / "snapshots"
    if not folder.is_dir():
        return None
    reference = repository / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    if commit and (folder / commit).is_dir():
        return folder / commit
    snapshots = [each for each in folder.iterdir() if each.is_dir()]
    return snapshots[0] if len(snapshots) == 1 else None
