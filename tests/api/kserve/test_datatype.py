"""Datatypes, and what holds them."""

from __future__ import annotations

import numpy as np
import pytest

from torchloom.errors import InvalidInput, TaskFailed
from torchloom_api.kserve.datatype import HELD, dtype_of, from_torch, name_of


def test_names_what_it_holds() -> None:
    """Every datatype but BF16 and BYTES is the one that its dtype is named by."""
    names = {name: name_of(dtype) for name, dtype in HELD.items() if name not in ("BF16", "BYTES")}
    assert all(name == found for name, found in names.items())
    assert len(names) == 12


def test_refuses_what_is_no_datatype() -> None:
    """A client is told the nearest name; a model that gives complex numbers has failed."""
    with pytest.raises(InvalidInput, match="Did you mean 'FP32'"):
        dtype_of("FP33")
    with pytest.raises(TaskFailed, match="complex64"):
        name_of(np.dtype(np.complex64))


def test_reads_what_torch_calls_them() -> None:
    """Names of model files, aliases too; none for what this protocol has not."""
    assert [from_torch(name) for name in ("float32", "half", "bfloat16", "long", "complex64")] == [
        "FP32",
        "FP16",
        "BF16",
        "INT64",
        None,
    ]
