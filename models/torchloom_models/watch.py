"""Watch: whoever opens an engine may learn what it has made to be compiled. Knows no engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from torchloom_models.piece import Piece


class Watched(Protocol):
    """What is compiled: a CompiledCallable does, or somebody who knows."""

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What was compiled, or found compiled, in the order in which it came."""
        ...

    @property
    def failures(self) -> tuple[str, ...]:
        """Why layouts run eagerly for good."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What was compiled in another process."""

    pieces: tuple[Piece, ...]
    failures: tuple[str, ...]


_watched: ContextVar[list[Watched] | None] = ContextVar("watched", default=None)


@contextmanager
def watching() -> Iterator[list[Watched]]:
    """Give a list that everything which is made to be compiled within the block is added to."""
    made: list[Watched] = []
    token = _watched.set(made)
    try:
        yield made
    finally:
        _watched.reset(token)


def tell_watcher(made: Watched) -> None:
    """Add it to the list of whoever watches, if anyone does."""
    watched = _watched.get()
    if watched is not None:
        watched.append(made)
