"""Functions that workflows of the tests call, in worker processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path


#: No function waits longer than this for another one.
_PATIENCE_S = 30.0


def shout(text: str) -> dict[str, object]:
    """Write it in capitals."""
    return {"text": text.upper()}


def count(number: int, pause_s: float = 0.01) -> Iterator[dict[str, object]]:
    """Count, slowly."""
    for each in range(number):
        time.sleep(pause_s)  # the pace of a model that streams
        yield {"n": each}


def hand_over(folder: str, number: int) -> Iterator[int]:
    """Give numbers, each only after the one before has been taken: see `take`."""
    for each in range(number):
        yield each
        deadline = time.monotonic() + _PATIENCE_S
        while not (Path(folder) / str(each)).exists():
            if time.monotonic() > deadline:
                message = f"Nobody has taken {each}."
                raise TimeoutError(message)
            time.sleep(0.01)  # another process makes the file


def take(folder: str, number: int, refused: int = -1) -> dict[str, object]:
    """Leave a mark that a number has been taken."""
    (Path(folder) / str(number)).touch()
    if number == refused:
        message = f"{number} is refused."
        raise ValueError(message)
    return {"taken": number}


def hold(folder: str, number: int) -> dict[str, object]:
    """Leave a mark, and give the number when there is a file `go`."""
    (Path(folder) / str(number)).touch()
    deadline = time.monotonic() + _PATIENCE_S
    while not (Path(folder) / "go").exists():
        if time.monotonic() > deadline:
            raise TimeoutError("Nobody has said go.")
        time.sleep(0.01)  # another process makes the file
    return {"number": number}


def slow(seconds: float) -> dict[str, object]:
    """Take a while."""
    time.sleep(seconds)
    return {"slept": seconds}
