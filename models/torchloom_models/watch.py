"""Watch: whoever opens an engine may learn what it has made to be compiled. Knows no engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from torchloom_models.compile import CompiledCallable


_watched: ContextVar[list[CompiledCallable] | None] = ContextVar("watched", default=None)


@contextmanager
def watching() -> Iterator[list[CompiledCallable]]:
    """Give a list that every CompiledCallable which is made within the block is added to."""
    made: list[CompiledCallable] = []
    token = _watched.set(made)
    try:
        yield made
    finally:
        _watched.reset(token)


def tell_watcher(made: CompiledCallable) -> None:
    """Add it to the list of whoever watches, if anyone does."""
    watched = _watched.get()
    if watched is not None:
        watched.append(made)
