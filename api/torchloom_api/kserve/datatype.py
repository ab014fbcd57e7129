"""Datatypes of the Open Inference Protocol, and the numpy dtypes that hold them. Knows no tensor.

numpy lacks BF16: such tensors are held as float32, and travel as the upper half of each number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from torchloom.errors import InvalidInput, TaskFailed, nearest


BF16: Final = "BF16"
BYTES: Final = "BYTES"

#: How an element of BF16 travels.
BF16_WIRE: Final = np.dtype("<u2")

#: How numbers are held, which is also how they travel, but for BF16: little-endian.
HELD: Final[Mapping[str, np.dtype[np.generic]]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"UINT{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"INT{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    BF16: np.dtype("<f4"),
    BYTES: np.dtype(np.object_),
}

#: Names by kind and size, for what models give.
_NAMES: Final = {
    (dtype.kind, dtype.itemsize): name for name, dtype in HELD.items() if name not in (BF16, BYTES)
}

#: What torch calls them in a model file.
_TORCH: Final[Mapping[str, str]] = {
    "bool": "BOOL",
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    "short": "INT16",
    "int": "INT32",
    "long": "INT64",
    "float16": "FP16",
    "half": "FP16",
    "bfloat16": BF16,
    "float32": "FP32",
    "float": "FP32",
    "float64": "FP64",
    "double": "FP64",
}


def dtype_of(datatype: str) -> np.dtype[np.generic]:
    """Give what holds a datatype. Raises InvalidInput for one that there is not."""
    dtype = HELD.get(datatype)
    if dtype is None:
        message = f"There is no datatype {datatype!r}.{nearest(datatype, HELD)}"
        raise InvalidInput(message)
    return dtype


def name_of(dtype: np.dtype[np.generic]) -> str:
    """Name the datatype of what a model gave. Raises TaskFailed where there is none."""
    name = _NAMES.get((dtype.kind, dtype.itemsize))
    if name is None:
        message = f"The model gave an array of {dtype}, which is no datatype of this protocol."
        raise TaskFailed(message)
    return name


def from_torch(dtype: str) -> str | None:
    """Name the datatype that a model file declares, if there is one."""
    return _TORCH.get(dtype)
