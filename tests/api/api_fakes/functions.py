"""Functions that workflows of the tests call, in worker processes."""

from __future__ import annotations

import time
from collections.abc import Iterator


def shout(text: str) -> dict[str, object]:
    """Write it in capitals."""
    return {"text": text.upper()}


def count(number: int, pause_s: float = 0.01) -> Iterator[dict[str, object]]:
    """Count, slowly."""
    for each in range(number):
        time.sleep(pause_s)  # the pace of a model that streams
        yield {"n": each}


def slow(seconds: float) -> dict[str, object]:
    """Take a while."""
    time.sleep(seconds)
    return {"slept": seconds}
