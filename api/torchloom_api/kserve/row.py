"""Rows: tensors of a request, cut along dimension 0 into the inputs of tasks. Knows no wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import msgspec
import numpy as np

from torchloom.engine import Values
from torchloom.errors import InvalidInput, nearest
from torchloom_api.kserve.datatype import BYTES, dtype_of
from torchloom_api.kserve.interface import Field, Interface
from torchloom_api.kserve.tensor import Array, Tensor


#: The most rows of one request: each is a task.
MAX_ROWS: Final = 4096


def to_rows(interface: Interface, tensors: Sequence[Tensor]) -> list[Values]:
    """Give the inputs of each task. Raises InvalidInput for what does not fit, naming the input."""
    fields = {tensor.name: _find_field(interface, tensor.name) for tensor in tensors}
    if len(fields) < len(tensors):
        raise InvalidInput("An input is given twice.")
    for tensor in tensors:
        _check(tensor, fields[tensor.name], is_rowwise=interface.is_rowwise)
    if not interface.is_rowwise:
        return [{tensor.name: tensor.array for tensor in tensors}]
    count = _count_rows(tensors)
    columns = {t.name: _to_column(t, fields[t.name]) for t in tensors}
    return [{name: column[row] for name, column in columns.items()} for row in range(count)]


def _find_field(interface: Interface, name: str) -> Field:
    field = interface.inputs.get(name)
    if field is not None:
        return field
    if interface.other is None:
        raise InvalidInput(f"There is no input {name!r}.{nearest(name, interface.inputs)}")
    return Field(form=interface.other)


def _count_rows(tensors: Sequence[Tensor]) -> int:
    if not tensors:
        raise InvalidInput("There are no inputs.")
    counts = {tensor.name: tensor.shape[0] for tensor in tensors}
    if len(set(counts.values())) > 1:
        message = f"Inputs must have as many rows (dimension 0) as each other, not {counts}."
        raise InvalidInput(message)
    count = tensors[0].shape[0]
    if not 1 <= count <= MAX_ROWS:
        message = f"A request has 1 to {MAX_ROWS} rows (dimension 0), not {count}."
        raise InvalidInput(message)
    return count


def _check(tensor: Tensor, field: Field, *, is_rowwise: bool) -> None:
    """Refuse a tensor of another type or shape than the model takes."""
    rows = (-1,) if is_rowwise else ()
    if is_rowwise and not tensor.shape:
        message = f"Input {tensor.name!r} has no dimension: dimension 0 counts the rows."
        raise InvalidInput(message)
    if field.form == "array" and tensor.datatype == BYTES:
        raise InvalidInput(f"Input {tensor.name!r}: the model takes numbers, not BYTES.")
    if field.datatype is not None and not _can_become(tensor.datatype, field.datatype):
        message = f"Input {tensor.name!r} must be {field.datatype}, not {tensor.datatype}."
        raise InvalidInput(message)
    if field.shape is not None and not _fits(tensor, (*rows, *field.shape)):
        wanted = [*rows, *field.shape]
        message = f"Input {tensor.name!r} must have the shape {wanted}, not {tensor.shape}."
        raise InvalidInput(f"{message} -1 is any size.")


def _can_become(given: str, wanted: str) -> bool:
    if BYTES in (given, wanted):
        return given == wanted
    return np.can_cast(dtype_of(given), dtype_of(wanted), "same_kind")


def _fits(tensor: Tensor, wanted: tuple[int, ...]) -> bool:
    shape = tensor.shape
    if len(wanted) == 1 and shape[1:] == [1]:
        return True  # clients of Triton write a number a row as [rows, 1]
    return len(shape) == len(wanted) and all(
        size in (-1, given) for given, size in zip(shape, wanted, strict=True)
    )


def _to_column(tensor: Tensor, field: Field) -> Sequence[object]:
    """Give what each row holds, as the model takes it."""
    array = tensor.array
    match field.form:
        case "array":
            return [array[row, ...] for row in range(len(array))]
        case "argument":
            return [_to_argument(array[row, ...]) for row in range(len(array))]
    if not field.shape:
        array = array.reshape(len(array))
    match field.form:
        case "text":
            return [_map_texts(tensor.name, row) for row in array.tolist()]
        case "json":
            return [_read_json(tensor.name, element) for element in array.tolist()]
    return array.tolist()  # type: ignore[no-any-return]  # numpy's lists are of anything


def _to_argument(array: Array) -> object:
    if array.dtype == np.object_:
        return _map_elements(array.tolist())
    return array if array.ndim else array.item()


def _map_elements(value: object) -> object:
    """Turn bytes that are text into text: over gRPC all text comes as bytes."""
    if isinstance(value, list):
        return [_map_elements(each) for each in value]
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def _map_texts(name: str, value: object) -> object:
    if isinstance(value, list):
        return [_map_texts(name, each) for each in value]
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise InvalidInput(f"Input {name!r}: an element is no text in UTF-8.") from None


def _read_json(name: str, element: object) -> object:
    try:
        return msgspec.json.decode(cast("bytes | str", element))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        message = f"Input {name!r}: an element is no JSON: {error}."
        raise InvalidInput(message) from None
