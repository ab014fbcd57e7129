"""OwnFolder: where a server keeps what it unpacks and compiles. Knows not what that is.

It is `.torchloom` where the server was started. Containers often have a root that cannot be
written, and a temporary folder that can: then it is there, and nobody else's.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torchloom_api.settings import InvalidSettings


_log = logging.getLogger(__name__)

_NAME: Final = ".torchloom"

#: How many digits of its hash tell the place where a server was started.
_DIGITS: Final = 12


def find_own_folder(started_in: Path, environment: Mapping[str, str]) -> Path:
    """Give the folder, which is there and can be written.

    Each place where a server is started has one of its own. Raises InvalidSettings where the one
    among the temporary files is somebody else's, or cannot be written either.
    """
    own = started_in / _NAME
    if _can_write(own):
        return own
    digest = hashlib.sha256(os.fsencode(started_in)).hexdigest()[:_DIGITS]
    temporary = Path(environment.get("TEMP") or tempfile.gettempdir())
    place = temporary / f"{_NAME}-{os.getuid()}-{digest}"
    with contextlib.suppress(OSError):
        place.mkdir(mode=0o700, exist_ok=True)
    _refuse_others(place)
    if not _can_write(place):
        message = (
            f"Neither {str(own)!r} nor {str(place)!r} can be written, where archives are unpacked."
        )
        raise InvalidSettings(message)
    place.chmod(0o700)
    _log.warning("%s cannot be written: archives are unpacked in %s", own, place)
    return place


def _refuse_others(place: Path) -> None:
    """Refuse what somebody else has put there, before anything is written to where it leads."""
    with contextlib.suppress(FileNotFoundError):
        found = place.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise InvalidSettings(f"The folder {str(place)!r} belongs to somebody else: remove it.")


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
