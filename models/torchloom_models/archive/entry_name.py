"""EntryName: whether an archive may hold an entry of some name. Knows no format of archives."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final


#: The longest name of a file, in bytes, and of a path in an archive.
_MAX_PART: Final = 255
_MAX_PATH: Final = 1024

#: The deepest that folders may be nested.
_MAX_DEPTH: Final = 32

#: What is in archives by the way, and of no use.
_SKIPPED: Final = frozenset({"__MACOSX", ".DS_Store"})

#: No character below a blank belongs in a name.
_FIRST_CHARACTER: Final = " "


def find_fault(name: str) -> str | None:
    """Say why an archive with an entry of this name is refused, or None."""
    path = PurePosixPath(name)
    is_control = any(each < _FIRST_CHARACTER for each in name)
    sizes = [len(part.encode("utf-8", "replace")) for part in path.parts]
    faults = {
        "it has no name that a file could have": is_control or not name.strip(),
        "its name is absolute": path.is_absolute() or name[1:2] == ":",
        "its name has a backslash": "\\" in name,
        "it leads out of the archive": ".." in path.parts,
        "its name is too long": len(sizes) > _MAX_DEPTH
        or sum(sizes) > _MAX_PATH
        or max(sizes, default=0) > _MAX_PART,
    }
    return next((fault for fault, holds in faults.items() if holds), None)


def is_skipped(name: str) -> bool:
    """Tell what is left out without a word."""
    return bool(_SKIPPED & set(PurePosixPath(name).parts))
