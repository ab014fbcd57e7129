"""Requests cut into the inputs of tasks."""

from __future__ import annotations

import numpy as np
import pytest

from torchloom.deployment import Deployment
from torchloom.errors import InvalidInput
from torchloom_api.kserve.interface import Interface
from torchloom_api.kserve.row import MAX_ROWS, to_rows
from torchloom_api.kserve.tensor import Tensor
from torchloom_models.kind import KINDS


def _of(kind: str, **config: object) -> Interface:
    signature = KINDS[kind].signature
    return Interface.of(
        Deployment(name="m", kind=kind, factory="f", signature=signature, config=config)
    )


def _numbers(name: str, values: object, datatype: str = "FP32") -> Tensor:
    kind = np.int64 if datatype == "INT64" else np.float32
    return Tensor(name=name, datatype=datatype, array=np.array(values, kind))


def _bytes(name: str, values: object) -> Tensor:
    return Tensor(name=name, datatype="BYTES", array=np.array(values, np.object_))


def test_gives_a_module_arrays() -> None:
    """Each row keeps its dtype, also where it is one number."""
    rows = to_rows(_of("module"), [_numbers("x", [[1, 2], [3, 4]]), _numbers("n", [5, 6], "INT64")])

    assert [row["x"].tolist() for row in rows] == [[1, 2], [3, 4]]
    assert all(isinstance(row["n"], np.ndarray) and row["n"].dtype == np.int64 for row in rows)


def test_gives_a_module_without_rows_all_of_it() -> None:
    """With `batch_dim: null` a request is one task."""
    (row,) = to_rows(_of("module", batch_dim=None), [_numbers("x", [[1, 2], [3, 4]])])
    assert row["x"].shape == (2, 2)


def test_gives_texts() -> None:
    """From bytes and from text, a text a row, also where there is a dimension more."""
    assert to_rows(_of("embedder"), [_bytes("text", [b"a", "\u00e4"])]) == [
        {"text": "a"},
        {"text": "\u00e4"},
    ]
    assert to_rows(_of("embedder"), [_bytes("text", [[b"a"], [b"b"]])])[1] == {"text": "b"}
    assert to_rows(_of("embedder"), [_bytes("texts", [[b"a", b"b"]])]) == [{"texts": ["a", "b"]}]


def test_gives_values_of_json() -> None:
    """Inputs that are neither numbers nor text are read as JSON."""
    rows = to_rows(_of("llm"), [_bytes("messages", [b'[{"role": "user"}]'])])
    assert rows == [{"messages": [{"role": "user"}]}]


def test_gives_numbers_as_json_has_them() -> None:
    """A check by JSON Schema reads lists and numbers."""
    rows = to_rows(_of("index"), [_numbers("vector", [[1, 2]]), _numbers("top_k", [[3]], "INT64")])
    assert rows == [{"vector": [1.0, 2.0], "top_k": 3}]


def test_gives_a_function_what_it_likes() -> None:
    """Numbers and text for single elements, arrays and lists for more; bytes that are no text."""
    rows = to_rows(
        _of("function"),
        [
            _numbers("n", [1, 2]),
            _numbers("x", [[1], [2]]),
            _bytes("t", [b"a", b"\xff"]),
            _bytes("l", [["a"], [b"b"]]),
        ],
    )
    assert [(row["n"], row["t"], row["l"]) for row in rows] == [
        (1.0, "a", ["a"]),
        (2.0, b"\xff", ["b"]),
    ]
    assert rows[0]["x"].tolist() == [1]


@pytest.mark.parametrize(
    ("kind", "tensors", "message"),
    [
        ("embedder", [_bytes("test", ["a"])], "Did you mean 'text'"),
        ("embedder", [_bytes("text", [["a", "b"]])], r"\[-1\], not \[1, 2\]"),
        ("embedder", [_numbers("text", [1])], "must be BYTES, not FP32"),
        ("embedder", [_bytes("text", [b"\xff"])], "no text"),
        ("embedder", [], "no inputs"),
        ("llm", [_bytes("messages", ["{"])], "no JSON"),
        ("index", [_bytes("vector", [["1"]])], "must be FP32"),
        ("index", [_numbers("vector", [[1]]), _numbers("top_k", [1.5])], "must be INT64"),
        ("module", [_numbers("x", 1)], "no dimension"),
        ("module", [_numbers("x", [1]), _numbers("x", [1])], "twice"),
        ("module", [_numbers("x", [1]), _numbers("y", [1, 2])], "as many rows"),
        ("module", [_numbers("x", [])], "1 to 4096 rows"),
        ("module", [_numbers("x", [0] * (MAX_ROWS + 1))], "1 to 4096 rows"),
        ("module", [_bytes("x", ["a"])], "takes numbers"),
    ],
)
def test_refuses_what_does_not_fit(kind: str, tensors: list[Tensor], message: str) -> None:
    """The input is named, and what it should be."""
    with pytest.raises(InvalidInput, match=message):
        to_rows(_of(kind), tensors)


def test_holds_a_module_to_what_it_declares() -> None:
    """Sizes, and types that lose nothing but precision."""
    module = _of(
        "module",
        inputs={
            "x": {"shape": [2, None], "dtype": "float32"},
            "n": {"shape": [], "dtype": "int32"},
        },
    )
    good = _numbers("n", [1], "INT64")

    assert len(to_rows(module, [_numbers("x", [[[1], [2]]], "INT64"), good])) == 1
    for wrong in (
        [_numbers("x", [[[1], [2], [3]]]), good],
        [_numbers("x", [[[1], [2]]]), _numbers("n", [1.5])],
        [_numbers("z", [[1]])],
    ):
        with pytest.raises(InvalidInput):
            to_rows(module, wrong)
