"""The body of a request of v2 over HTTP: JSON, and behind it, with the binary extension, raw data.

Reads it to a Call. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from torchloom.errors import InvalidInput
from torchloom_api.errors import BadRequest
from torchloom_api.kserve.call import Call
from torchloom_api.kserve.json_data import BASE64, CONTENT_TYPE, from_json
from torchloom_api.kserve.raw_data import from_raw
from torchloom_api.kserve.tensor import Tensor


#: The parameter of an input that says how many bytes of raw data are its own.
_RAW_SIZE: Final = "binary_data_size"

#: The parameter of an output that asks for raw data, and of a request that asks so for all.
_AS_RAW: Final = "binary_data"
_ALL_AS_RAW: Final = "binary_data_output"

#: What Triton's clients can ask for, and this server cannot do.
_REFUSED: Final = ("shared_memory_region", "classification")

Parameters = Mapping[str, object]


class InputBody(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor of a request."""

    name: str
    datatype: str
    shape: list[int]
    data: object = None
    parameters: Parameters = {}


class OutputBody(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor that is asked for."""

    name: str
    parameters: Parameters = {}


class InferBody(msgspec.Struct, frozen=True, kw_only=True):
    """A request. Members that nobody knows are ignored."""

    inputs: list[InputBody]
    id: str = ""
    outputs: list[OutputBody] = []
    parameters: Parameters = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RawWish:
    """Which outputs are to be raw data."""

    is_for_all: bool = False
    by_name: Mapping[str, bool]

    def holds_for(self, name: str) -> bool:
        """Tell whether an output is to be raw data."""
        return self.by_name.get(name, self.is_for_all)


def read_call(
    body: bytes, header_size: bytes | None, *, model: str, version: str
) -> tuple[Call, RawWish]:
    """Read a request. `header_size`: how long the JSON is, where raw data follows it.

    Raises BadRequest for what cannot be read, InvalidInput for what does not fit.
    """
    text, raw = _split(body, header_size)
    try:
        request = msgspec.json.decode(text, type=InferBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = f"{error}".rstrip(".") if text else "it is empty"
        raise BadRequest(f"The body is no request for an inference: {what}.") from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    for part in request.inputs:
        refuse_unserved(part.name, part.parameters)
    for wanted in request.outputs:
        refuse_unserved(wanted.name, wanted.parameters)
    call = Call(
        model=model,
        version=version,
        id=request.id,
        parameters=request.parameters,
        inputs=_to_tensors(request.inputs, raw),
        outputs=[output.name for output in request.outputs],
    )
    asked = {o.name: o.parameters[_AS_RAW] for o in request.outputs if _AS_RAW in o.parameters}
    wish = RawWish(
        is_for_all=_read_flag(_ALL_AS_RAW, request.parameters.get(_ALL_AS_RAW, False)),
        by_name={name: _read_flag(_AS_RAW, value) for name, value in asked.items()},
    )
    return call, wish


def _split(body: bytes, header_size: bytes | None) -> tuple[bytes, memoryview]:
    if header_size is None:
        return body, memoryview(b"")
    size = (
        int(header_size) if header_size.isdigit() and len(header_size) <= len("123456789") else -1
    )
    if not 0 <= size <= len(body):
        message = (
            "Inference-Header-Content-Length must say how many bytes of the body are JSON: "
            f"0 to {len(body)}."
        )
        raise BadRequest(message)
    return body[:size], memoryview(body)[size:]


def refuse_unserved(tensor: str, parameters: Parameters) -> None:
    """Refuse what Triton's clients can ask for of a tensor, and this server cannot do."""
    for name in _REFUSED:
        if name in parameters:
            raise InvalidInput(f"{tensor!r}: the parameter {name!r} is not served.")


def _to_tensors(inputs: list[InputBody], raw: memoryview) -> list[Tensor]:
    tensors, start = [], 0
    for each in inputs:
        size = each.parameters.get(_RAW_SIZE)
        if size is None:
            is_base64 = each.parameters.get(CONTENT_TYPE) == BASE64
            tensors.append(
                from_json(each.name, each.datatype, each.shape, each.data, is_base64=is_base64)
            )
            continue
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise InvalidInput(f"Input {each.name!r}: {_RAW_SIZE!r} must be a number of bytes.")
        if each.data is not None:
            raise InvalidInput(f"Input {each.name!r} has both 'data' and {_RAW_SIZE!r}.")
        if start + size > len(raw):
            left = len(raw) - start
            message = f"Input {each.name!r} is to have {size} bytes, but {left} are left."
            raise InvalidInput(message)
        tensors.append(from_raw(each.name, each.datatype, each.shape, raw[start : start + size]))
        start += size
    if start < len(raw):
        message = f"The body has {len(raw) - start} bytes of raw data that belong to no input."
        raise InvalidInput(message)
    return tensors


def _read_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"The parameter {name!r} must be true or false.")
    return value
