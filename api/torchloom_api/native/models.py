"""Routes of models: register, describe, change, split traffic, remove, predict."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.types import ASGIApp

from torchloom.errors import Fault, InvalidInput, UnknownModel
from torchloom.model_status import ModelStatus
from torchloom.policy import ReplicaPolicy
from torchloom_api.body import read_document, read_struct
from torchloom_api.call import predict
from torchloom_api.failed import Failed
from torchloom_api.label import split_label
from torchloom_api.native.access import INFERENCE, MANAGEMENT, READING
from torchloom_api.native.request import (
    After,
    AnyRequest,
    Limit,
    PathText,
    ServiceParam,
    answer_by,
    to_exchange,
)
from torchloom_api.native.traffic import TrafficView, read_traffic, to_weights
from torchloom_api.native.view import ModelView
from torchloom_api.page import Page, paginate
from torchloom_api.service import Service


#: The most replicas that a request may ask for, and the longest times, in seconds, as model files.
_MAX_REPLICAS = 256
_MAX_WAIT_S = 3600
_MAX_IDLE_S = 604_800


class ReplicasBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many workers each device runs: `min`, and up to `max` as the load asks for them.

    `max` is `min` where it is left out; `wait_s` and `idle_s` stay as they are.
    """

    min: int = 1
    max: int | None = None
    wait_s: float | None = None
    idle_s: float | None = None


class ModelChange(msgspec.Struct, frozen=True):
    """What may be changed while a model serves. `traffic`: weight by version; a shadow stays."""

    replicas: ReplicasBody | None = None
    traffic: Mapping[str, float] | None = None
    batching: object = None


@post("/models", opt=MANAGEMENT, operation_id="addModel")
async def add_model(request: AnyRequest, service: ServiceParam) -> Response[ModelView]:
    """Register a model; answers when it serves. 201 where it is new, 200 where it was there."""
    text = await read_document(to_exchange(request), service.settings.body_limit)
    deployment, is_new = await service.registrar.add_model(text)
    status = service.orchestrator.model(deployment.name, deployment.version)
    place = {"Location": f"/api/models/{deployment.label}"}
    return Response(ModelView.of(status), status_code=201 if is_new else 200, headers=place)


@get("/models", opt=READING, operation_id="listModels")
async def list_models(
    service: ServiceParam, limit: Limit = 100, after: After = None
) -> Page[ModelView]:
    """List every version of every model, by name and version."""
    models: list[ModelStatus | Failed] = list(service.orchestrator.models())
    models += service.registrar.failed.of_kind("models")
    return paginate(models, key=_key, show=_show, limit=limit, after=after)


@get("/models/{label:str}", opt=READING, operation_id="getModel")
async def get_model(label: PathText, service: ServiceParam) -> ModelView:
    """Describe a model, or one version of it (`name@version`)."""
    return _show(_find(service, label))


@patch("/models/{label:str}", opt=MANAGEMENT, operation_id="changeModel")
async def change_model(label: PathText, request: AnyRequest, service: ServiceParam) -> ModelView:
    """Change a model's number of replicas, or its traffic split."""
    change = await read_struct(to_exchange(request), service.settings.body_limit, ModelChange)
    name, version = split_label(label)
    status = service.orchestrator.model(name, version)
    chosen = status.deployment.version
    if change.batching is not None:
        fault = Fault(
            message="'batching' cannot be changed while a model serves: register a new version.",
            pointer="/batching",
        )
        raise InvalidInput(fault.message, faults=[fault])
    if change.replicas is not None:
        await service.registrar.scale_model(
            name, chosen, _to_policy(change.replicas, status.policy)
        )
    if change.traffic is not None:
        weights = to_weights(change.traffic)
        shadow = service.orchestrator.model_shadow(name, beside=weights)
        service.registrar.set_traffic("models", name, weights, shadow)
    return ModelView.of(service.orchestrator.model(name, chosen))


@put("/models/{label:str}/traffic", opt=MANAGEMENT, operation_id="splitModelTraffic")
async def split_traffic(label: PathText, request: AnyRequest, service: ServiceParam) -> TrafficView:
    """Split a model's requests by weight, and give a shadow version copies of some."""
    traffic = await read_traffic(service, to_exchange(request))
    service.registrar.set_traffic("models", label, *traffic)
    return TrafficView.of(label, *traffic)


@delete("/models/{label:str}", opt=MANAGEMENT, operation_id="removeModel")
async def remove_model(label: PathText, service: ServiceParam) -> None:
    """Drain a model, or one version of it, then remove it."""
    name, version = split_label(label)
    await service.registrar.remove_model(name, version, grace_s=service.settings.grace_s)


@post(
    "/models/{label:str}/predict", status_code=200, opt=INFERENCE, operation_id="predictWithModel"
)
async def ask_model(label: PathText, request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Ask one model, without a workflow: wait for its outputs, or stream its chunks."""
    exchange = to_exchange(request)
    return answer_by(exchange, predict(service, exchange, label))


def _to_policy(body: ReplicasBody, now: ReplicaPolicy) -> ReplicaPolicy:
    policy = ReplicaPolicy(
        min=body.min,
        max=body.min if body.max is None else body.max,
        wait_s=now.wait_s if body.wait_s is None else body.wait_s,
        idle_s=now.idle_s if body.idle_s is None else body.idle_s,
    )
    rules = {
        f"0 <= min <= max <= {_MAX_REPLICAS}": 0 <= policy.min <= policy.max <= _MAX_REPLICAS,
        f"0 <= wait_s <= {_MAX_WAIT_S}": 0 <= policy.wait_s <= _MAX_WAIT_S,
        f"0 < idle_s <= {_MAX_IDLE_S}": 0 < policy.idle_s <= _MAX_IDLE_S,
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        message = f"'replicas' must hold {' and '.join(broken)}."
        raise InvalidInput(message, faults=[Fault(message=message, pointer="/replicas")])
    return policy


def _find(service: Service, label: str) -> ModelStatus | Failed:
    name, version = split_label(label)
    try:
        return service.orchestrator.model(name, version)
    except UnknownModel:
        failed = service.registrar.failed.find("models", name, version)
        if failed is None:
            raise
        return failed


def _show(model: ModelStatus | Failed) -> ModelView:
    return ModelView.of_failed(model) if isinstance(model, Failed) else ModelView.of(model)


def _key(model: ModelStatus | Failed) -> str:
    named = model if isinstance(model, Failed) else model.deployment
    return f"{named.name}@{named.version}"


#: Every route of this page.
ROUTES = (
    add_model,
    list_models,
    get_model,
    change_model,
    split_traffic,
    remove_model,
    ask_model,
)
