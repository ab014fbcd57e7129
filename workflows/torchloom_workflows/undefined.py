"""Undefined: what an expression finds where there is nothing. Knows no graph and no scope.

It may be passed on, looked into, tested by `is defined` and replaced by `default()`; anything else
fails, naming what was not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from jinja2 import StrictUndefined, UndefinedError
from jinja2.utils import missing

from torchloom.errors import nearest


class AbsentName(UndefinedError):
    """A whole name is absent, such as a node that was skipped."""

    def __init__(self, name: str, message: str | None = None) -> None:
        super().__init__(message or f"{name!r} is not there")
        self.name = name


class Missing(StrictUndefined):
    """Strict, and looking into it gives itself, so that `a.b.c | default(…)` works at any depth."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: object = missing,
        name: str | None = None,
        exc: type[UndefinedError] = UndefinedError,
    ) -> None:
        super().__init__(hint, obj, name, exc)
        if hint is None and obj is missing and name is not None:
            self._undefined_exception = partial(AbsentName, name)  # type: ignore[assignment]  # raised by calling it
        elif hint is None:
            self._undefined_exception = partial(_no_such_key, obj, name)  # type: ignore[assignment]  # the same


def _no_such_key(value: object, key: object, message: str) -> UndefinedError:
    """Word it only when it is raised: most of these are tested, and never are."""
    if isinstance(value, Mapping):
        known = [name for name in value if isinstance(name, str)]
        return UndefinedError(f"there is no {key!r}.{nearest(str(key), known)}")
    if isinstance(value, list | tuple | str) and isinstance(key, int):
        return UndefinedError(f"there is no item {key}: there are {len(value)}")
    del message
    return UndefinedError(
        f"a {type(value).__name__} has no {key!r}; only mappings have names in them"
    )
