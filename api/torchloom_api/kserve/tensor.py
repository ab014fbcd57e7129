"""Tensor: a named array as clients send it and get it. Knows no JSON, no wire and no model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from torchloom.errors import InvalidInput


Array = NDArray[np.generic]

#: numpy has no more dimensions than this.
_MAX_DIMENSIONS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """A name, a datatype, and the array that `datatype.HELD` says.

    Elements of BYTES are bytes, or text where they came, or go, as text.
    """

    name: str
    datatype: str
    array: Array

    @property
    def shape(self) -> list[int]:
        """Give the sizes of its dimensions."""
        return list(self.array.shape)


def count_elements(name: str, shape: Sequence[int]) -> int:
    """Tell how many elements a shape has. Raises InvalidInput for what is no shape."""
    if len(shape) > _MAX_DIMENSIONS or any(size < 0 for size in shape):
        sizes = list(shape[: _MAX_DIMENSIONS + 1])
        message = (
            f"Input {name!r}: {sizes} is no shape: up to {_MAX_DIMENSIONS} sizes, none below 0."
        )
        raise InvalidInput(message)
    return math.prod(shape)


def refuse_size(name: str, shape: Sequence[int], num_given: int, what: str) -> InvalidInput:
    """Say that a shape and what was given for it do not fit."""
    wanted = count_elements(name, shape)
    message = f"Input {name!r}: the shape {list(shape)} has {wanted} {what}, not {num_given}."
    return InvalidInput(message)
