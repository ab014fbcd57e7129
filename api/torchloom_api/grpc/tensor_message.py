"""Tensors as messages of the Open Inference Protocol, in both directions. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from torchloom.errors import InvalidInput
from torchloom_api.grpc.proto import open_inference_pb2 as messages
from torchloom_api.kserve.call import Answer, Call
from torchloom_api.kserve.datatype import BYTES, dtype_of
from torchloom_api.kserve.infer_body import refuse_unserved
from torchloom_api.kserve.json_data import from_json
from torchloom_api.kserve.raw_data import from_raw, to_raw
from torchloom_api.kserve.tensor import Tensor, count_elements, refuse_size


#: The field of InferTensorContents that holds a datatype; those that are missing always go raw.
_FIELDS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}

_Input = messages.ModelInferRequest.InferInputTensor


def to_call(request: messages.ModelInferRequest) -> Call:
    """Read a request. Raises InvalidInput for what does not fit."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        message = f"There are {len(request.inputs)} inputs, and raw contents for {len(raw)}."
        raise InvalidInput(message)
    for each in request.inputs:
        refuse_unserved(each.name, _to_plain(each.parameters))
    for wanted in request.outputs:
        refuse_unserved(wanted.name, _to_plain(wanted.parameters))
    return Call(
        model=request.model_name,
        version=request.model_version,
        id=request.id,
        parameters=_to_plain(request.parameters),
        inputs=[
            _to_tensor(each, raw[place] if raw else None)
            for place, each in enumerate(request.inputs)
        ],
        outputs=[output.name for output in request.outputs],
    )


def to_response(answer: Answer, *, is_raw: bool) -> messages.ModelInferResponse:
    """Write an answer: raw, or typed as far as every datatype has a field."""
    response = messages.ModelInferResponse(
        model_name=answer.model, model_version=answer.version, id=answer.id
    )
    is_raw = is_raw or any(tensor.datatype not in _FIELDS for tensor in answer.outputs)
    for tensor in answer.outputs:
        output = response.outputs.add(
            name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
        )
        if is_raw:
            response.raw_output_contents.append(to_raw(tensor))
        else:
            getattr(output.contents, _FIELDS[tensor.datatype]).extend(_to_elements(tensor))
    return response


def _to_tensor(each: _Input, raw: bytes | None) -> Tensor:
    if raw is None:
        return _from_contents(each)
    if each.HasField("contents"):
        raise InvalidInput(f"Input {each.name!r} has both contents and raw contents.")
    return from_raw(each.name, each.datatype, each.shape, raw)


def _from_contents(each: _Input) -> Tensor:
    dtype_of(each.datatype)
    field = _FIELDS.get(each.datatype)
    if field is None:
        message = f"Input {each.name!r}: {each.datatype} goes by raw_input_contents alone."
        raise InvalidInput(message)
    wrong = [f.name for f, _ in each.contents.ListFields() if f.name != field]
    if wrong:
        message = f"Input {each.name!r}: {each.datatype} stands in {field}, not in {wrong[0]}."
        raise InvalidInput(message)
    elements = list(getattr(each.contents, field))
    if each.datatype != BYTES:
        return from_json(each.name, each.datatype, each.shape, elements)
    if len(elements) != count_elements(each.name, each.shape):
        raise refuse_size(each.name, each.shape, len(elements), "elements")
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return Tensor(name=each.name, datatype=BYTES, array=array.reshape(each.shape))


def _to_elements(tensor: Tensor) -> list[object]:
    elements: list[object] = tensor.array.reshape(-1).tolist()
    if tensor.datatype != BYTES:
        return elements
    return [each if isinstance(each, bytes) else str(each).encode() for each in elements]


def _to_plain(parameters: Mapping[str, messages.InferParameter]) -> dict[str, object]:
    plain = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        plain[name] = None if kind is None else getattr(parameter, kind)
    return plain
