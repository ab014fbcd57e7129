"""Random ids that nobody can guess: who has one may be shown what it names. Knows no names."""

from __future__ import annotations

import os
import secrets
from collections import deque
from typing import Final


_BYTES: Final = 12

#: So many are drawn at once: to ask the system for each would be a hundredth of a small run.
_BULK: Final = 256

#: A deque's ends may be taken by several threads.
_drawn: Final[deque[str]] = deque()


# A child that was forked off makes others.
os.register_at_fork(after_in_child=_drawn.clear)


def new_id() -> str:
    """Give 12 random bytes, as 24 hexadecimal digits."""
    while True:
        try:
            return _drawn.pop()
        except IndexError:
            bulk = secrets.token_hex(_BYTES * _BULK)
            _drawn.extend(bulk[at : at + 2 * _BYTES] for at in range(0, len(bulk), 2 * _BYTES))
