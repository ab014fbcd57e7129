"""Columns: what tasks gave, put together to tensors with a row for each task. Knows no wire.

What is no array of numbers or text, or is not there in every row, goes as JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from torchloom.engine import Values
from torchloom.errors import InvalidInput, nearest
from torchloom_api.kserve.datatype import BYTES, HELD, name_of
from torchloom_api.kserve.interface import Field, Interface
from torchloom_api.kserve.tensor import Array, Tensor
from torchloom_api.media import to_json


_NUMBERS: Final = "fiub"


def to_tensors(
    interface: Interface, results: Sequence[Values], wanted: Sequence[str] = ()
) -> list[Tensor]:
    """Give the outputs that are wanted, or all. Raises InvalidInput for one that there is not."""
    known = list(dict.fromkeys(name for result in results for name in result))
    for name in wanted:
        if name not in known:
            raise InvalidInput(f"There is no output {name!r}.{nearest(name, known)}")
    return [
        _to_tensor(
            name,
            [result.get(name) for result in results],
            interface.outputs.get(name),
            is_rowwise=interface.is_rowwise,
        )
        for name in dict.fromkeys(wanted or known)
    ]


def pick(tensors: Sequence[Tensor], wanted: Sequence[str]) -> list[Tensor]:
    """Give the tensors that are wanted, or all. Raises InvalidInput for one that there is not."""
    known = {tensor.name: tensor for tensor in tensors}
    for name in wanted:
        if name not in known:
            raise InvalidInput(f"There is no output {name!r}.{nearest(name, known)}")
    return [known[name] for name in dict.fromkeys(wanted or known)]


def _to_tensor(
    name: str, values: Sequence[object], field: Field | None, *, is_rowwise: bool
) -> Tensor:
    found = [_to_array(value, field) for value in values]
    arrays = [array for array in found if array is not None]
    kinds = {array.dtype == np.object_ for array in arrays}
    if len(arrays) < len(found) or len(kinds) > 1:
        arrays = [_to_json(value) for value in values]
    array = _stack(name, arrays) if is_rowwise else np.atleast_1d(arrays[0])
    if array.dtype == np.object_:
        return Tensor(name=name, datatype=BYTES, array=array)
    if field is not None and field.datatype is not None and array.dtype.kind == "f":
        array = array.astype(HELD[field.datatype], copy=False)
    return Tensor(name=name, datatype=name_of(array.dtype), array=array)


def _stack(name: str, arrays: Sequence[Array]) -> Array:
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        first, second = (list(shape) for shape in shapes[:2])
        message = (
            f"Output {name!r} has rows of the shapes {first} and {second}, which no tensor holds. "
            "Send rows with such answers one at a time."
        )
        raise InvalidInput(message)
    return np.stack(arrays)


def _to_array(value: object, field: Field | None) -> Array | None:
    """Give a value as an array; None where it is none, and so goes as JSON."""
    if field is not None and field.form == "json":
        return None
    if isinstance(value, np.ndarray | np.generic | bool | int | float):
        array = np.asarray(value)
        return array if array.dtype.kind != "O" else None
    if isinstance(value, bytes | bytearray | memoryview):
        return _to_element(bytes(value))
    if isinstance(value, str):
        return _to_element(value)
    return _from_list(value) if isinstance(value, list | tuple) and value else None


def _from_list(values: Sequence[object]) -> Array | None:
    if all(isinstance(value, str) for value in values):
        array = np.empty(len(values), np.object_)
        array[:] = list(values)
        return array
    try:
        found = np.asarray(values)
    except (ValueError, OverflowError):
        return None
    return found if found.dtype.kind in _NUMBERS else None


def _to_element(value: object) -> Array:
    array = np.empty((), np.object_)
    array[()] = value
    return array


def _to_json(value: object) -> Array:
    return _to_element(to_json(value).decode())


def to_plain(results: Sequence[Mapping[str, object]], main: Sequence[str]) -> list[object]:
    """Give each result as v1 has it: the first main output alone, or the only one, or all."""
    return [_to_prediction(result, main) for result in results]


def _to_prediction(result: Mapping[str, object], main: Sequence[str]) -> object:
    if main:
        return result.get(main[0])
    (*others, last) = result.values() if result else (None,)
    return dict(result) if others else last
