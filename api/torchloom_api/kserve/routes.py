"""Routes of KServe v2. Edge answers inferences itself; they stand here for the documents."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from litestar import Response, get, post
from litestar.types import ASGIApp

from torchloom_api.kserve.http_call import answer_infer
from torchloom_api.kserve.metadata import (
    ModelMetadata,
    ServerMetadata,
    describe_model,
    describe_server,
    is_server_ready,
    require_model_ready,
)
from torchloom_api.native.access import INFERENCE, READING
from torchloom_api.native.request import (
    AnyRequest,
    PathText,
    ServiceParam,
    answer_by,
    to_exchange,
)


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    live: bool


class Ready(msgspec.Struct, frozen=True):
    """Whether work should be sent here."""

    ready: bool


class ModelReady(msgspec.Struct, frozen=True):
    """A model that answers."""

    name: str
    ready: bool


class ModelNames(msgspec.Struct, frozen=True):
    """Every model, by name."""

    models: Sequence[str]


@get("/", operation_id="describeServer")
async def get_server() -> ServerMetadata:
    """Tell what this server is."""
    return describe_server()


@get("/health/live", operation_id="isLiveV2")
async def get_live() -> Live:
    """Tell that the process answers."""
    return Live(live=True)


@get("/health/ready", operation_id="isReadyV2")
async def get_ready(service: ServiceParam) -> Response[Ready]:
    """Tell whether work should be sent here; 503 where not."""
    is_ready = is_server_ready(service)
    return Response(Ready(ready=is_ready), status_code=200 if is_ready else 503)


@get("/models", opt=READING, operation_id="listModelsV2")
async def list_models(service: ServiceParam) -> ModelNames:
    """Name every model."""
    names = [status.deployment.name for status in service.orchestrator.models()]
    return ModelNames(models=sorted(set(names)))


@get("/models/{model:str}", opt=READING, operation_id="describeModelV2")
async def get_model(model: PathText, service: ServiceParam) -> ModelMetadata:
    """Tell a model's tensors."""
    return describe_model(service, model)


@get("/models/{model:str}/versions/{version:str}", opt=READING, operation_id="describeVersionV2")
async def get_version(model: PathText, version: PathText, service: ServiceParam) -> ModelMetadata:
    """Tell the tensors of one version of a model."""
    return describe_model(service, model, version)


@get("/models/{model:str}/ready", opt=READING, operation_id="isModelReadyV2")
async def get_model_ready(model: PathText, service: ServiceParam) -> ModelReady:
    """Tell whether a model answers; 503 where not."""
    require_model_ready(service, model)
    return ModelReady(name=model, ready=True)


@get(
    "/models/{model:str}/versions/{version:str}/ready",
    opt=READING,
    operation_id="isVersionReadyV2",
)
async def get_version_ready(
    model: PathText, version: PathText, service: ServiceParam
) -> ModelReady:
    """Tell whether one version of a model answers; 503 where not."""
    require_model_ready(service, model, version)
    return ModelReady(name=model, ready=True)


@post("/models/{model:str}/infer", status_code=200, opt=INFERENCE, operation_id="inferV2")
async def post_infer(model: PathText, request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Ask a model with tensors."""
    exchange = to_exchange(request)
    return answer_by(exchange, answer_infer(service, exchange, model))


@post(
    "/models/{model:str}/versions/{version:str}/infer",
    status_code=200,
    opt=INFERENCE,
    operation_id="inferVersionV2",
)
async def post_version_infer(
    model: PathText, version: PathText, request: AnyRequest, service: ServiceParam
) -> ASGIApp:
    """Ask one version of a model with tensors."""
    exchange = to_exchange(request)
    return answer_by(exchange, answer_infer(service, exchange, model, version))


#: Every route below `/v2`.
ROUTES = (
    get_server,
    get_live,
    get_ready,
    list_models,
    get_model,
    get_version,
    get_model_ready,
    get_version_ready,
    post_infer,
    post_version_infer,
)
