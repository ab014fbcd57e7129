"""JSON data: a tensor's elements as JSON has them, flat or nested, in both directions.

Bytes go as base64, since JSON has no bytes; `content_type` says so. Knows no request.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from torchloom.errors import InvalidInput
from torchloom_api.kserve.datatype import BYTES, dtype_of
from torchloom_api.kserve.tensor import Array, Tensor, count_elements, refuse_size


#: The parameter of a tensor that says how its text is to be read, and its value for base64.
CONTENT_TYPE: Final = "content_type"
BASE64: Final = "base64"

#: What numpy makes of JSON numbers that a datatype of each kind takes: bool, unsigned, int, float.
_TAKES: Final = {"b": "b", "u": "iu", "i": "iu", "f": "iuf"}


def from_json(
    name: str, datatype: str, shape: Sequence[int], data: object, *, is_base64: bool = False
) -> Tensor:
    """Read the elements of a tensor. Raises InvalidInput for what does not fit its type or shape.

    `is_base64`: its texts are bytes in base64.
    """
    dtype = dtype_of(datatype)
    num_elements = count_elements(name, shape)
    if not isinstance(data, list):
        raise InvalidInput(f"Input {name!r}: 'data' must be a list.")
    if datatype == BYTES:
        flat = list(_flatten(name, data))
        array = _to_texts(name, flat, is_base64=is_base64)
    else:
        array = _to_numbers(name, datatype, dtype, data)
        if array.ndim > 1 and list(array.shape) != list(shape):
            message = (
                f"Input {name!r}: the data has the shape {list(array.shape)}, not {list(shape)}."
            )
            raise InvalidInput(message)
    if array.size != num_elements:
        raise refuse_size(name, shape, array.size, "elements")
    return Tensor(name=name, datatype=datatype, array=array.reshape(shape))


def to_json(tensor: Tensor) -> tuple[list[object], bool]:
    """Give a tensor's elements, flat, and whether they are bytes in base64."""
    elements: list[object] = tensor.array.reshape(-1).tolist()
    if tensor.datatype != BYTES or all(isinstance(element, str) for element in elements):
        return elements, False
    return [_to_base64(element) for element in elements], True


def _to_base64(element: object) -> str:
    data = element if isinstance(element, bytes) else str(element).encode()
    return base64.b64encode(data).decode()


def _flatten(name: str, data: list[object]) -> Iterator[object]:
    """Give the leaves, in order, without recursion: whoever nests deeply gets no stack."""
    iterators: list[Iterator[object]] = [iter(data)]
    while iterators:
        for item in iterators[-1]:
            if isinstance(item, list):
                iterators.append(iter(item))
                break
            if not isinstance(item, str):
                message = f"Input {name!r}: an element of BYTES must be text, not {item!r:.40}."
                raise InvalidInput(message)
            yield item
        else:
            iterators.pop()


def _to_texts(name: str, texts: list[object], *, is_base64: bool) -> Array:
    elements = [_from_base64(name, str(text)) for text in texts] if is_base64 else texts
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


def _from_base64(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        message = f"Input {name!r}: an element is no base64, which its 'content_type' says."
        raise InvalidInput(message) from None


def _to_numbers(name: str, datatype: str, dtype: np.dtype[np.generic], data: list[object]) -> Array:
    if not data:
        return np.empty(0, dtype)
    try:
        found = _from_numbers(data, is_large=dtype.kind == "u")
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"Input {name!r}: the data is no array: {error}.") from None
    if found.size and found.dtype.kind not in _TAKES[dtype.kind]:
        message = f"Input {name!r}: the data holds what is no {datatype}."
        raise InvalidInput(message)
    if dtype.kind in "iu" and found.size:
        limits = np.iinfo(dtype.name)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            message = f"Input {name!r}: a number is beyond {datatype}."
            raise InvalidInput(message)
    with np.errstate(over="ignore"):  # too large a float becomes infinite
        return found.astype(dtype)


def _from_numbers(data: list[object], *, is_large: bool) -> Array:
    """Read numbers; numpy makes floats of those over and under 2**63 together."""
    found = np.asarray(data)
    if is_large and found.dtype.kind == "f":
        exact = np.asarray(data, np.object_)
        if all(type(number) is int for number in exact.reshape(-1)):
            return exact.astype(np.uint64)
    return found
