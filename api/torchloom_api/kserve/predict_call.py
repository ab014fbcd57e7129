"""The calls of KServe v1: `:predict` and `:explain`. Raw ASGI, since they are hot.

An instance is a task: an object with the model's inputs, or the one input itself.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence

import msgspec

from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.errors import InvalidInput, TorchLoomError
from torchloom_api.body import read_body
from torchloom_api.call import read_options
from torchloom_api.errors import BadRequest
from torchloom_api.exchange import Exchange
from torchloom_api.kserve.call import ask_rows
from torchloom_api.kserve.column import to_plain
from torchloom_api.kserve.handler_call import answer_by_handler, is_handler
from torchloom_api.kserve.row import MAX_ROWS
from torchloom_api.label import split_label
from torchloom_api.media import JSON, to_json
from torchloom_api.presence import while_present
from torchloom_api.service import Service


class NotExplained(TorchLoomError):
    """The model can give answers, and no reasons for them."""

    status = 501
    title = "The model explains nothing"


class PredictBody(msgspec.Struct, frozen=True, kw_only=True):
    """A request. Members that nobody knows are ignored."""

    instances: list[object]
    parameters: Mapping[str, object] = {}


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """An answer for each instance, in order."""

    predictions: Sequence[object]


async def answer_predict(service: Service, exchange: Exchange, label: str) -> None:
    """Answer a request for predictions."""
    service.require_started()
    deployment = service.orchestrator.pick_model(*split_label(label))
    if is_handler(deployment):
        await answer_by_handler(service, exchange, deployment, is_explain=False)
        return
    options = read_options(service, exchange)
    request = _read(await read_body(exchange, service.settings.body_limit))
    rows = [_to_row(service, deployment, instance) for instance in request.instances]
    results = await while_present(
        exchange, ask_rows(service, deployment, rows, request.parameters, options)
    )
    main = service.interfaces.of(deployment).main_outputs
    answer = Predictions(predictions=to_plain(results, main))
    await exchange.respond(200, to_json(answer), JSON)


async def answer_explain(service: Service, exchange: Exchange, label: str) -> None:
    """Answer a request for explanations: handlers of archives can have them, nothing else."""
    service.require_started()
    deployment = service.orchestrator.pick_model(*split_label(label))
    if not is_handler(deployment):
        message = f"Models of kind {deployment.kind!r} explain nothing; {deployment.name!r} is one."
        raise NotExplained(message)
    await answer_by_handler(service, exchange, deployment, is_explain=True)


def _read(body: bytes) -> PredictBody:
    try:
        request = msgspec.json.decode(body, type=PredictBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"The body is no request for predictions: {str(error).rstrip('.')}."
        raise BadRequest(message) from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    if not 1 <= len(request.instances) <= MAX_ROWS:
        message = f"'instances' must hold 1 to {MAX_ROWS}, not {len(request.instances)}."
        raise InvalidInput(message)
    return request


def _to_row(service: Service, deployment: Deployment, instance: object) -> Values:
    if isinstance(instance, dict) and set(instance) != {"b64"}:
        return {name: _to_value(value) for name, value in instance.items()}
    names = [spec.name for spec in service.interfaces.inputs(deployment)]
    if len(names) != 1:
        message = (
            f"Model {deployment.name!r} has no input that alone could be meant: write each "
            'instance as an object with its inputs, {"name": value}.'
        )
        raise InvalidInput(message)
    return {names[0]: _to_value(instance)}


def _to_value(value: object) -> object:
    """Read what TensorFlow's clients write for bytes, `{"b64": "…"}`; leave all else."""
    if not isinstance(value, dict) or set(value) != {"b64"}:
        return value
    try:
        return base64.b64decode(str(value["b64"]), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("What stands in 'b64' is no base64.") from None
