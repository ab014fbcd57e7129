"""What is remembered of models that declare nothing."""

from __future__ import annotations

import numpy as np

from torchloom.deployment import Deployment
from torchloom_api.kserve.interface import TensorSpec
from torchloom_api.kserve.interface_table import InterfaceTable
from torchloom_api.kserve.tensor import Tensor
from torchloom_models.kind import KINDS


def _deployment(**config: object) -> Deployment:
    return Deployment(
        name="m", kind="module", factory="f", signature=KINDS["module"].signature, config=config
    )


def _tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name=name, datatype="FP32", array=np.zeros(shape, np.float32))


def test_remembers_what_answers_have_shown() -> None:
    """A size that differs from one answer to the next is any size; another rank replaces."""
    table, deployment = InterfaceTable(), _deployment()
    table.note(deployment, [_tensor("x", 2, 3)], [_tensor("y", 2, 3)])
    first = table.outputs(deployment)
    table.note(deployment, [_tensor("x", 4, 5)], [_tensor("y", 4)])

    assert first == [TensorSpec(name="y", datatype="FP32", shape=[-1, 3])]
    assert table.inputs(deployment) == [TensorSpec(name="x", datatype="FP32", shape=[-1, -1])]
    assert table.outputs(deployment) == [TensorSpec(name="y", datatype="FP32", shape=[-1])]


def test_keeps_to_what_is_declared() -> None:
    """Declared inputs are told as they are."""
    table = InterfaceTable()
    deployment = _deployment(inputs={"x": {"shape": [None], "dtype": "float32"}})
    table.note(deployment, [_tensor("x", 2, 3)], [_tensor("y", 2, 3)])

    assert table.inputs(deployment) == [TensorSpec(name="x", datatype="FP32", shape=(-1, -1))]


def test_forgets_what_was_replaced() -> None:
    """Another model under the same name and version begins anew."""
    table = InterfaceTable()
    table.note(_deployment(), [_tensor("x", 2)], [_tensor("y", 2)])

    assert table.outputs(_deployment()) == []


def test_shows_a_whole_tensor_as_it_is() -> None:
    """Without a batch dimension there are no rows to leave open."""
    table, deployment = InterfaceTable(), _deployment(batch_dim=None)
    table.note(deployment, [_tensor("x", 2, 3)], [_tensor("y", 2)])

    assert [spec.shape for spec in table.inputs(deployment)] == [[2, 3]]


def test_holds_so_many_tensors_and_no_more() -> None:
    """A function that names its outputs at random fills no memory."""
    table, deployment = InterfaceTable(), _deployment()
    table.note(deployment, [], [_tensor(f"y{i}", 1) for i in range(100)])

    assert len(table.outputs(deployment)) == 64
