"""Elements of tensors in JSON."""

from __future__ import annotations

import numpy as np
import pytest

from torchloom.errors import InvalidInput
from torchloom_api.kserve.json_data import from_json, to_json
from torchloom_api.kserve.tensor import Tensor


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        ("FP32", [1, 2.5, 3, 4], [[1.0, 2.5], [3.0, 4.0]]),
        ("FP64", [[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
        ("BF16", [1, 2, 3, 4], [[1.0, 2.0], [3.0, 4.0]]),
        ("INT8", [-128, 127, 0, 1], [[-128, 127], [0, 1]]),
        ("UINT64", [2**64 - 1, 0, 1, 2], [[2**64 - 1, 0], [1, 2]]),
        ("BOOL", [True, False, False, True], [[True, False], [False, True]]),
        ("BYTES", [["a", "ä"], ["", "b"]], [["a", "ä"], ["", "b"]]),
    ],
)
def test_reads_flat_and_nested(datatype: str, data: list[object], expected: object) -> None:
    """Elements may be nested as the shape is, or stand one after another."""
    tensor = from_json("x", datatype, [2, 2], data)

    assert tensor.array.tolist() == expected
    assert tensor.shape == [2, 2]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("FP32", [2], [1], "1"),
        ("FP32", [2, 1], [[1, 2]], "shape"),
        ("FP32", [2], [[1], [2, 3]], "no array"),
        ("FP32", [-1], [1], "no shape"),
        ("FP32", [1] * 65, [1], "no shape"),
        ("FP32", [1], ["1"], "no FP32"),
        ("FP32", [1], [None], "no FP32"),
        ("FP32", [1], [{}], "no FP32"),
        ("INT32", [1], [1.5], "no INT32"),
        ("INT8", [1], [128], "beyond INT8"),
        ("UINT8", [1], [-1], "beyond UINT8"),
        ("INT64", [1], [2**70], "INT64"),
        ("BOOL", [1], [1], "no BOOL"),
        ("BYTES", [1], [1], "must be text"),
        ("BYTES", [2], ["a"], "1"),
        ("FP32", [1], None, "list"),
        ("TEXT", [1], ["a"], "no datatype"),
    ],
)
def test_refuses_what_does_not_fit(
    datatype: str, shape: list[int], data: object, message: str
) -> None:
    """The input is named, and what is wrong with it."""
    with pytest.raises(InvalidInput, match=message):
        from_json("x", datatype, shape, data)


def test_takes_bytes_as_base64() -> None:
    """JSON has no bytes: `content_type` says that texts are base64, both ways."""
    tensor = from_json("x", "BYTES", [2], ["AP8=", ""], is_base64=True)

    assert tensor.array.tolist() == [b"\x00\xff", b""]
    assert to_json(tensor) == (["AP8=", ""], True)
    with pytest.raises(InvalidInput, match="no base64"):
        from_json("x", "BYTES", [1], ["?"], is_base64=True)


def test_gives_elements_flat() -> None:
    """Row by row; text stays text."""
    numbers = Tensor(name="y", datatype="FP32", array=np.array([[1, 2], [3, 4]], np.float32))
    texts = from_json("x", "BYTES", [2], ["a", "b"])

    assert to_json(numbers) == ([1.0, 2.0, 3.0, 4.0], False)
    assert to_json(texts) == (["a", "b"], False)


def test_takes_a_tensor_without_elements() -> None:
    """A size may be 0."""
    assert from_json("x", "INT32", [0, 3], []).shape == [0, 3]
