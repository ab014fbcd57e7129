"""What every route to compiled code has in common: its face, its error, its dynamic dimensions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


#: Compiled code: takes the positional tensors of forward, gives what forward gives.
Code = Callable[[Sequence[Tensor]], object]


class CompileFailed(Exception):
    """A route did not lead to code. The message says which part, and what it said."""


@dataclass(frozen=True, slots=True)
class Dim:
    """A dimension whose size may vary within one piece of code. The same name is the same size."""

    name: str
    min: int = 1
    max: int = 2**20


#: For each argument of forward, its dynamic dimensions by number. None: every size is fixed.
Dims = Sequence[Mapping[int, Dim]]


class Compiler(Protocol):
    """One route from a module to code."""

    #: The route's name, for logs: "ahead of time".
    name: str

    def layout_of(self, arguments: Sequence[Tensor]) -> Hashable:
        """Say what distinguishes code: arguments of equal layout run the same code."""
        ...

    def compile(self, arguments: Sequence[Tensor], *, is_background: bool) -> Code:
        """Give code for the layout of `arguments`, which may be written to. Raises CompileFailed.

        The values of the arguments do not matter; memory that was never written will do.
        """
        ...

    def close(self) -> None:
        """End what still compiles. May be called from another thread, and more than once."""
        ...


def layout_of(
    arguments: Sequence[Tensor], dims: Dims | None, *, least: int = 0
) -> tuple[tuple[object, ...], ...]:
    """Give dtype, shape and strides of each argument; a dynamic size counts by its name.

    A size below `least`, or outside its dimension's bounds, counts by its value. The strides of a
    contiguous tensor follow from its sizes.
    """
    if dims is None:
        return tuple((tensor.dtype, tensor.shape, tensor.stride()) for tensor in arguments)
    return tuple(
        (
            tensor.dtype,
            tuple(
                of[i].name if i in of and max(of[i].min, least) <= size <= of[i].max else size
                for i, size in enumerate(tensor.shape)
            ),
            None if tensor.is_contiguous() else tensor.stride(),
        )
        for tensor, of in zip(arguments, dims, strict=True)
    )


def dynamic_dims(arguments: Sequence[Tensor], dims: Dims, *, least: int = 0) -> Dims:
    """Leave out the dimensions whose size in `arguments` counts by its value."""
    return [
        {i: dim for i, dim in of.items() if max(dim.min, least) <= tensor.shape[i] <= dim.max}
        for tensor, of in zip(arguments, dims, strict=True)
    ]


def need_cpp_compiler() -> None:
    """Raise CompileFailed unless inductor would find a C++ compiler: CXX, g++ or clang++."""
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    if not any(shutil.which(name) for name in names if name):
        raise CompileFailed("there is no C++ compiler (g++ or clang++) on this machine")


def first_lines(error: BaseException, most: int = 6) -> str:
    """Cut what a compiler said to what a log line can bear."""
    return "\n".join(str(error).splitlines()[:most])
