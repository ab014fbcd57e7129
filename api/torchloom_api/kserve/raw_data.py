"""Raw data: a tensor's elements as bytes, in both directions, for HTTP and gRPC alike.

They are little-endian, row by row; elements of BYTES stand each behind four bytes of their length.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from torchloom.errors import InvalidInput
from torchloom_api.kserve.datatype import BF16, BF16_WIRE, BYTES, dtype_of
from torchloom_api.kserve.tensor import Array, Tensor, count_elements, refuse_size


_LENGTH: Final = struct.Struct("<I")

Buffer = bytes | memoryview


def from_raw(name: str, datatype: str, shape: Sequence[int], data: Buffer) -> Tensor:
    """Read the elements of a tensor. Raises InvalidInput where there are too many, or too few."""
    dtype = dtype_of(datatype)
    num_elements = count_elements(name, shape)
    if datatype == BYTES:
        array = _split(name, data)
        if array.size != num_elements:
            raise refuse_size(name, shape, array.size, "elements")
        return Tensor(name=name, datatype=datatype, array=array.reshape(shape))
    wire = BF16_WIRE if datatype == BF16 else dtype
    if len(data) != num_elements * wire.itemsize:
        raise refuse_size(name, shape, len(data), f"elements of {wire.itemsize} bytes, in bytes")
    array = np.frombuffer(data, wire)
    if datatype == BF16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    elif datatype == "BOOL":
        array = np.frombuffer(data, np.uint8) != 0
    return Tensor(name=name, datatype=datatype, array=array.reshape(shape))


def to_raw(tensor: Tensor) -> bytes:
    """Give a tensor's elements."""
    if tensor.datatype == BYTES:
        return b"".join(_with_length(element) for element in tensor.array.reshape(-1).tolist())
    array = tensor.array.astype(dtype_of(tensor.datatype), copy=False)
    if tensor.datatype == BF16:
        return _round_to_bf16(array).tobytes()
    return array.tobytes()


def _with_length(element: object) -> bytes:
    data = element if isinstance(element, bytes) else str(element).encode("utf-8", "replace")
    return _LENGTH.pack(len(data)) + data


def _split(name: str, data: Buffer) -> Array:
    elements, start = [], 0
    while start < len(data):
        end = start + _LENGTH.size
        if end <= len(data):
            end += _LENGTH.unpack_from(data, start)[0]
        if end > len(data):
            message = f"Input {name!r}: the last element of BYTES is cut short."
            raise InvalidInput(message)
        elements.append(bytes(data[start + _LENGTH.size : end]))
        start = end
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


def _round_to_bf16(array: Array) -> Array:
    """Round to the nearest, ties to even; what is no number stays none."""
    bits = np.ascontiguousarray(array, "<f4").view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(BF16_WIRE)
    return np.where(np.isnan(array.astype(np.float32)), BF16_WIRE.type(0x7FC0), rounded)
