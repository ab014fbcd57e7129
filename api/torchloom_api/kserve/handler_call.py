"""Handlers of TorchServe's archives: they read the protocols' documents themselves.

The document goes in as the request's body, and what the handler makes of it comes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.errors import InvalidInput, TaskFailed
from torchloom.run_options import RunOptions
from torchloom.timings import Meter
from torchloom_api.body import parse_json, read_body
from torchloom_api.call import read_options
from torchloom_api.exchange import Exchange
from torchloom_api.kserve.json_data import BASE64, CONTENT_TYPE, from_json, to_json
from torchloom_api.kserve.tensor import Tensor
from torchloom_api.media import JSON
from torchloom_api.presence import while_present
from torchloom_api.service import Service


class _Output(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor that a handler gave."""

    name: str
    datatype: str
    shape: list[int]
    data: object


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler in the envelope of v2 answers."""

    outputs: list[_Output]


def is_handler(deployment: Deployment) -> bool:
    """Tell whether a model is an archive's handler."""
    return deployment.kind == "handler"


async def answer_by_handler(
    service: Service, exchange: Exchange, deployment: Deployment, *, is_explain: bool
) -> None:
    """Hand a request of v1 to a handler, and its answer to the client, as it is."""
    options = read_options(service, exchange)
    body = parse_json(await read_body(exchange, service.settings.body_limit))
    asking = _ask(service, deployment, body, options, request_id=exchange.id, is_explain=is_explain)
    outputs = await while_present(exchange, asking)
    media_type = outputs.get("content_type")
    headers = cast("Mapping[str, str]", outputs.get("headers") or {})
    await exchange.respond(
        cast("int", outputs.get("status") or 200),
        _to_body(outputs),
        JSON if media_type is None else str(media_type).encode(),
        [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    )


async def infer_by_handler(
    service: Service,
    deployment: Deployment,
    inputs: Sequence[Tensor],
    parameters: Mapping[str, object],
    options: RunOptions,
    *,
    request_id: str,
    meter: Meter | None = None,
) -> list[Tensor]:
    """Hand tensors to a handler as a document of v2, and read its answer.

    Raises TaskFailed where that is no such document: its envelope should be `kservev2`.
    """
    document: dict[str, object] = {"inputs": [_to_document(tensor) for tensor in inputs]}
    if request_id:
        document["id"] = request_id
    if parameters:
        document["parameters"] = dict(parameters)
    outputs = await _ask(service, deployment, document, options, request_id=request_id, meter=meter)
    try:
        answer = msgspec.json.decode(_to_body(outputs), type=_Answer)
        return [from_json(o.name, o.datatype, o.shape, o.data) for o in answer.outputs]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidInput) as error:
        message = (
            f"The handler of {deployment.name!r} gave no answer of this protocol ({error}). "
            "Give its model file `envelope: kservev2`, or a handler that knows the protocol."
        )
        raise TaskFailed(message) from None


async def _ask(
    service: Service,
    deployment: Deployment,
    body: object,
    options: RunOptions,
    *,
    request_id: str,
    is_explain: bool = False,
    meter: Meter | None = None,
) -> Values:
    params: dict[str, object] = {"content_types": {"body": "application/json"}}
    if request_id:
        params["request_id"] = request_id
    if is_explain:
        params["is_explain"] = True
    return await service.orchestrator.predict(
        deployment.name,
        {"body": body},
        params,
        version=deployment.version,
        options=options,
        meter=meter,
    )


def _to_body(outputs: Values) -> bytes:
    body = outputs.get("body")
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TaskFailed("The handler gave no body.")
    return bytes(body)


def _to_document(tensor: Tensor) -> dict[str, object]:
    data, is_base64 = to_json(tensor)
    document: dict[str, object] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": tensor.shape,
        "data": data,
    }
    return {**document, "parameters": {CONTENT_TYPE: BASE64}} if is_base64 else document
