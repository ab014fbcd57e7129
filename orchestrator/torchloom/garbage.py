"""What a process has when it is ready to serve is not looked through for garbage again.

Modules and weights of a server or a worker are some hundred thousand objects, and to look through
them stops it for 60 to 130 ms, in the middle of requests. While modules are imported there are ever
more of them, all of which stay.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final


#: So many more objects than before there must be until the youngest are looked through, while
#: modules are imported. Not never: a model's own module may do more than define things.
_YOUNGEST_OF_IMPORTS: Final = 20_000

#: So many more objects than before there must be until the youngest are looked through.
_YOUNGEST: Final = 5_000


@contextmanager
def importing() -> Iterator[None]:
    """Look for garbage less often while modules are imported, and never again at what they made.

    Next to none of it is garbage, and to make sure took an eighth of the import of torch. For a
    process that does not serve yet.
    """
    usual = gc.get_threshold()
    rare = (usual[0] and max(_YOUNGEST_OF_IMPORTS, usual[0]), *usual[1:])  # 0: not at all
    gc.set_threshold(*rare)
    try:
        yield
    finally:
        gc.freeze()
        if gc.get_threshold() == rare:  # a model's own module may have said something else
            gc.set_threshold(*usual)


def set_aside() -> None:
    """Drop what is garbage, and keep all else out of later collections."""
    gc.collect()
    gc.freeze()


def look_less_often() -> None:
    """Look for garbage less often: for a process whose objects are small, and leave no cycles."""
    gc.set_threshold(_YOUNGEST, *gc.get_threshold()[1:])
