"""`ts.utils.timeit_decorator`. There, what it decorates fails: it needs a clock of Python 2."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar


P = ParamSpec("P")
R = TypeVar("R")


def timeit(func: Callable[P, R]) -> Callable[P, R]:
    """Print how long each call of a function takes, and of a processor."""

    @wraps(func)
    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        began, cpu_began = time.perf_counter(), time.process_time()
        given = func(*args, **kwargs)
        took, cpu_took = time.perf_counter() - began, time.process_time() - cpu_began
        name = func.__name__
        print(f"{name} took {took:.4f} s, and {cpu_took:.4f} s of CPU time")  # noqa: T201 - its work
        return given

    return timed


__all__ = ["timeit"]
