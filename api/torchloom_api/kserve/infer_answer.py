"""The body of an answer of v2 over HTTP: JSON, and behind it the outputs that go as raw data."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from torchloom_api.kserve.call import Answer
from torchloom_api.kserve.infer_body import Parameters, RawWish
from torchloom_api.kserve.json_data import BASE64, CONTENT_TYPE, to_json
from torchloom_api.kserve.raw_data import to_raw
from torchloom_api.kserve.tensor import Tensor
from torchloom_api.media import to_json as encode


class OutputTensor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tensor of an answer; with `binary_data_size` its data follows the JSON."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: Sequence[object] | msgspec.UnsetType = msgspec.UNSET
    parameters: Parameters = {}


class InferAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer; `id` is the request's."""

    model_name: str
    model_version: str
    outputs: Sequence[OutputTensor]
    id: str = ""


def to_body(answer: Answer, wish: RawWish) -> tuple[bytes, int | None]:
    """Give the body, and how much of it is JSON, where there is more. Raises TaskFailed."""
    outputs, raw = [], []
    for tensor in answer.outputs:
        if wish.holds_for(tensor.name):
            data = to_raw(tensor)
            raw.append(data)
            outputs.append(_to_output(tensor, parameters={"binary_data_size": len(data)}))
        else:
            outputs.append(_with_data(tensor))
    document = InferAnswer(
        model_name=answer.model, model_version=answer.version, id=answer.id, outputs=outputs
    )
    text = encode(document)
    return (b"".join([text, *raw]), len(text)) if raw else (text, None)


def _with_data(tensor: Tensor) -> OutputTensor:
    data, is_base64 = to_json(tensor)
    parameters = {CONTENT_TYPE: BASE64} if is_base64 else {}
    return _to_output(tensor, data=data, parameters=parameters)


def _to_output(
    tensor: Tensor,
    *,
    parameters: Parameters,
    data: Sequence[object] | msgspec.UnsetType = msgspec.UNSET,
) -> OutputTensor:
    return OutputTensor(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=tensor.shape,
        data=data,
        parameters=parameters,
    )
