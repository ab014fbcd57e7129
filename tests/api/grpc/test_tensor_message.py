"""Tensors as messages."""

from __future__ import annotations

import numpy as np
import pytest

from torchloom.errors import InvalidInput
from torchloom_api.grpc.proto import open_inference_pb2 as messages
from torchloom_api.grpc.tensor_message import to_call, to_response
from torchloom_api.kserve.call import Answer
from torchloom_api.kserve.datatype import HELD
from torchloom_api.kserve.tensor import Tensor


def _request(
    datatype: str, shape: list[int], **contents: list[object]
) -> messages.ModelInferRequest:
    request = messages.ModelInferRequest(model_name="m")
    each = request.inputs.add(name="x", datatype=datatype, shape=shape)
    for field, elements in contents.items():
        getattr(each.contents, field).extend(elements)
    return request


@pytest.mark.parametrize(
    ("datatype", "field", "elements"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-1, 2]),
        ("INT64", "int64_contents", [-(2**40), 2]),
        ("UINT16", "uint_contents", [1, 2]),
        ("UINT64", "uint64_contents", [2**64 - 1, 0]),
        ("FP32", "fp32_contents", [0.5, 2.0]),
        ("FP64", "fp64_contents", [0.1, 2.0]),
        ("BYTES", "bytes_contents", [b"a", b"\xff"]),
    ],
)
def test_reads_and_writes_typed_contents(datatype: str, field: str, elements: list[object]) -> None:
    """Each datatype has a field of its own."""
    (tensor,) = to_call(_request(datatype, [2, 1], **{field: elements})).inputs
    answer = Answer(model="m", version="1", id="", outputs=[tensor])
    (output,) = to_response(answer, is_raw=False).outputs

    assert tensor.array.dtype == HELD[datatype]
    assert tensor.array.tolist() == [[element] for element in elements]
    assert list(getattr(output.contents, field)) == elements
    assert list(output.shape) == [2, 1]


def test_reads_and_writes_raw_contents() -> None:
    """In the order of the tensors."""
    request = _request("FP32", [1])
    request.inputs.add(name="t", datatype="BYTES", shape=[1])
    request.raw_input_contents.extend([b"\x00\x00\x00\x3f", b"\x01\x00\x00\x00a"])
    first, second = to_call(request).inputs
    answer = Answer(model="m", version="1", id="7", outputs=[first, second])
    response = to_response(answer, is_raw=True)

    assert (first.array.tolist(), second.array.tolist()) == ([0.5], [b"a"])
    assert list(response.raw_output_contents) == list(request.raw_input_contents)
    assert not response.outputs[0].HasField("contents")


def test_writes_raw_what_has_no_field() -> None:
    """FP16 and BF16 travel raw, and then all others do."""
    array = np.zeros(1, np.float16)
    outputs = [
        Tensor(name="y", datatype="FP16", array=array),
        Tensor(name="z", datatype="FP32", array=array.astype(np.float32)),
    ]
    response = to_response(Answer(model="m", version="1", id="", outputs=outputs), is_raw=False)

    assert [len(raw) for raw in response.raw_output_contents] == [2, 4]


def test_reads_parameters() -> None:
    """Of every kind; one that is not set is none."""
    request = _request("FP32", [0])
    request.parameters["a"].int64_param = 1
    request.parameters["b"].string_param = "s"
    request.parameters["c"].bool_param = True
    request.parameters["d"].double_param = 0.5
    request.parameters["e"].uint64_param = 2
    request.parameters["f"].SetInParent()

    assert to_call(request).parameters == {
        "a": 1,
        "b": "s",
        "c": True,
        "d": 0.5,
        "e": 2,
        "f": None,
    }


def _with_raw(request: messages.ModelInferRequest, *raw: bytes) -> messages.ModelInferRequest:
    request.raw_input_contents.extend(raw)
    return request


def _with_region(request: messages.ModelInferRequest) -> messages.ModelInferRequest:
    request.inputs[0].parameters["shared_memory_region"].string_param = "r"
    return request


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (_request("FP32", [1], int_contents=[1]), "fp32_contents, not in int_contents"),
        (_request("FP32", [2], fp32_contents=[1]), "2 elements"),
        (_request("INT8", [1], int_contents=[128]), "beyond INT8"),
        (_request("BYTES", [2], bytes_contents=[b"a"]), "2 elements"),
        (_request("FP16", [1]), "raw_input_contents alone"),
        (_request("FP33", [1]), "no datatype"),
        (_with_raw(_request("FP32", [1], fp32_contents=[1]), b"1234"), "both"),
        (_with_raw(_request("FP32", [1]), b"1234", b""), "1 inputs"),
        (_with_raw(_request("FP32", [1]), b"12"), "4 bytes"),
        (_with_region(_request("FP32", [0])), "shared_memory_region"),
    ],
)
def test_refuses_what_does_not_fit(request_: messages.ModelInferRequest, message: str) -> None:
    """The input is named, and what is wrong with it."""
    with pytest.raises(InvalidInput, match=message):
        to_call(request_)
