"""Elements of tensors as bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchloom.errors import InvalidInput
from torchloom_api.kserve.datatype import HELD
from torchloom_api.kserve.raw_data import from_raw, to_raw
from torchloom_api.kserve.tensor import Tensor


NUMBERS = [name for name in HELD if name not in ("BYTES", "BF16", "BOOL")]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_gives_back_numbers(datatype: str) -> None:
    """What is read and written is the same, byte by byte."""
    data = np.arange(6).astype(HELD[datatype]).tobytes()
    tensor = from_raw("x", datatype, [2, 3], memoryview(data))

    assert tensor.array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert to_raw(tensor) == data


def test_reads_bf16_as_float32() -> None:
    """Two bytes an element: the upper half of a float32."""
    tensor = from_raw("x", "BF16", [3], bytes.fromhex("803f 20c0 807f"))

    assert tensor.array.tolist() == [1.0, -2.5, np.inf]
    assert to_raw(tensor).hex() == "803f20c0807f"


def test_rounds_to_bf16() -> None:
    """To the nearest, ties to even; NaN stays NaN."""
    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-7, np.nan], np.float32)
    raw = to_raw(Tensor(name="y", datatype="BF16", array=values))
    back = from_raw("y", "BF16", [4], raw).array

    assert back[:3].tolist() == [1.0, 1 + 2**-6, 1 + 2**-7]
    assert np.isnan(back[3])


@given(st.lists(st.binary(max_size=9), max_size=5))
def test_gives_back_bytes(elements: list[bytes]) -> None:
    """Each element stands behind its length."""
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    raw = to_raw(Tensor(name="x", datatype="BYTES", array=array))

    assert from_raw("x", "BYTES", [len(elements)], raw).array.tolist() == elements


def test_writes_text_as_utf_8() -> None:
    """Elements of answers may be text."""
    array = np.array(["ä"], np.object_)
    assert to_raw(Tensor(name="x", datatype="BYTES", array=array)) == b"\x02\x00\x00\x00\xc3\xa4"


def test_takes_any_byte_but_0_as_true() -> None:
    """BOOL is a byte an element."""
    assert from_raw("x", "BOOL", [3], b"\x00\x01\x02").array.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("FP32", [2], b"1234", "8|elements of 4 bytes"),
        ("BF16", [1], b"1234", "elements of 2 bytes"),
        ("BYTES", [1], b"\x02\x00\x00\x00a", "cut short"),
        ("BYTES", [1], b"\x02\x00", "cut short"),
        ("BYTES", [2], b"\x01\x00\x00\x00a", "2 elements"),
    ],
)
def test_refuses_what_does_not_fit(
    datatype: str, shape: list[int], data: bytes, message: str
) -> None:
    """Neither too many bytes nor too few."""
    with pytest.raises(InvalidInput, match=message):
        from_raw("x", datatype, shape, data)
