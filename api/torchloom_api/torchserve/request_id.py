"""Ids of requests: random uuids, as TorchServe's are. Knows no request."""

from __future__ import annotations

import random
from typing import Final


#: Of its own, so that whoever seeds the module's does not make ids come again; no secret.
_random: Final = random.Random()  # noqa: S311 - an id says who is meant, and lets nobody in

#: The digit that says of which variant an id is, by two random bits.
_VARIANT: Final = "89ab"


def new_uuid() -> str:
    """Make up an id: a uuid of version 4, without a call of the system for each."""
    text = f"{_random.getrandbits(128):032x}"
    variant = _VARIANT[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"
