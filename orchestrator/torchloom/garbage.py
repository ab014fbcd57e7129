"""What a process has when it is ready to serve is not looked through for garbage again.

Modules and weights of a server or a worker are some hundred thousand objects, and to look through
them stops it for 60 to 130 ms, in the middle of requests.
"""

from __future__ import annotations

import gc
from typing import Final


#: So many more objects than before there must be until the youngest are looked through.
_YOUNGEST: Final = 5_000


def set_aside() -> None:
    """Drop what is garbage, and keep all else out of later collections."""
    gc.collect()
    gc.freeze()


def look_less_often() -> None:
    """Look for garbage less often: for a process whose objects are small, and leave no cycles."""
    gc.set_threshold(_YOUNGEST, *gc.get_threshold()[1:])
