"""Ids of requests: random uuids, as TorchServe's are. Knows no request."""

from __future__ import annotations

import random
from typing import Final


#: Of its own, so that whoever seeds the module's does not make ids come again; no secret.
_random: Final = random.Random()  # noqa: S311 - an id says who is meant, and lets nobody in

#: The bits of an id that are random; the others say that, as version 4 of uuids does.
_FREE: Final = (1 << 128) - 1 - (0xF << 76) - (0x3 << 62)
_VERSION: Final = (0x4 << 76) | (0x2 << 62)


def new_uuid() -> str:
    """Make up an id: a uuid of version 4, without a call of the system for each."""
    text = f"{_random.getrandbits(128) & _FREE | _VERSION:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
