"""Answers of tasks put together to tensors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from torchloom.deployment import Deployment
from torchloom.errors import InvalidInput, TaskFailed
from torchloom_api.kserve.column import to_tensors
from torchloom_api.kserve.interface import Interface
from torchloom_models.kind import KINDS


def _of(kind: str, **config: object) -> Interface:
    signature = KINDS[kind].signature
    return Interface.of(
        Deployment(name="m", kind=kind, factory="f", signature=signature, config=config)
    )


@pytest.mark.parametrize(
    ("values", "datatype", "shape"),
    [
        ([np.zeros((2, 3), np.float16)] * 2, "FP16", [2, 2, 3]),
        ([1, 2], "INT64", [2]),
        ([1, 2.5], "FP64", [2]),
        ([True, False], "BOOL", [2]),
        (["a", b"\xff"], "BYTES", [2]),
        ([["a", "b"], ["c", "d"]], "BYTES", [2, 2]),
        ([[1, 2], [3, 4.5]], "FP64", [2, 2]),
    ],
)
def test_stacks_rows(values: list[object], datatype: str, shape: list[int]) -> None:
    """Arrays of one shape, numbers and text each have a datatype."""
    (tensor,) = to_tensors(_of("function"), [{"y": value} for value in values])

    assert (tensor.name, tensor.datatype, tensor.shape) == ("y", datatype, shape)


@pytest.mark.parametrize(
    "values",
    [
        [{"a": 1}, {"a": 2}],
        [None, "a"],
        [[], [1]],
        [[1, [2]], [1, [2]]],
        [1, "a"],
        [["a", 1], ["b", 2]],
        [2**70, 1],
    ],
)
def test_writes_the_rest_as_json(values: list[object]) -> None:
    """All rows alike, so that a client reads each in the same way."""
    (tensor,) = to_tensors(_of("function"), [{"y": value} for value in values])

    assert (tensor.datatype, tensor.shape) == ("BYTES", [2])
    assert [json.loads(element) for element in tensor.array] == values


def test_tells_null_where_a_row_lacks_an_output() -> None:
    """No output of another row is lost."""
    tensors = to_tensors(_of("function"), [{"a": 1}, {"a": 2, "b": "x"}])
    assert [(t.name, t.array.tolist()) for t in tensors] == [("a", [1, 2]), ("b", ["null", '"x"'])]


def test_keeps_to_the_signature() -> None:
    """Numbers have the declared type, and objects are JSON even if they are empty lists."""
    (vectors,) = to_tensors(_of("embedder"), [{"embedding": [0.5, 1.0]}])
    (found,) = to_tensors(_of("index"), [{"documents": []}])

    assert (vectors.datatype, found.array.tolist()) == ("FP32", ["[]"])


def test_gives_what_is_asked_for() -> None:
    """In that order; what there is not is refused with the nearest name."""
    results = [{"first": 1, "second": 2}]
    tensors = to_tensors(_of("function"), results, ["second", "first"])

    assert [tensor.name for tensor in tensors] == ["second", "first"]
    with pytest.raises(InvalidInput, match="Did you mean 'first'"):
        to_tensors(_of("function"), results, ["frist"])


def test_refuses_rows_of_different_shapes() -> None:
    """No tensor holds them: the client is told to ask one by one."""
    results = [{"y": np.zeros(2)}, {"y": np.zeros(3)}]
    with pytest.raises(InvalidInput, match="one at a time"):
        to_tensors(_of("function"), results)


def test_gives_whole_tensors_without_rows() -> None:
    """With `batch_dim: null` an output is as the module gave it; a single number has one size."""
    whole = _of("module", batch_dim=None)
    tensors = to_tensors(whole, [{"y": np.zeros((2, 3), np.float32), "s": np.float32(1)}])

    assert [tensor.shape for tensor in tensors] == [[2, 3], [1]]


def test_fails_where_there_is_no_datatype() -> None:
    """Complex numbers are the model's failure."""
    with pytest.raises(TaskFailed, match="complex"):
        to_tensors(_of("module"), [{"y": np.zeros(2, np.complex64)}])
