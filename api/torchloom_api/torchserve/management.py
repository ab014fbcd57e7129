"""Routes of the management port: register, list, describe, scale, choose, remove, renew tokens."""

from __future__ import annotations

from functools import partial
from typing import Final

from msgspec.structs import replace

from torchloom_api.torchserve.administration import (
    Said,
    describe_customized_models,
    describe_models,
    has_workers,
    list_models,
    register_model,
    scale_model,
    set_default,
    unregister_model,
)
from torchloom_api.torchserve.answer import Answer, json_answer, status_answer
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import method_not_allowed
from torchloom_api.torchserve.open_api import management_model_document
from torchloom_api.torchserve.parameters import Parameters
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request
from torchloom_api.torchserve.route import Answering, Route
from torchloom_api.torchserve.token_file import TokenKind
from torchloom_api.torchserve.workflow.route import find_management


_TOKENS: Final[tuple[TokenKind, ...]] = ("management",)


def find_route(frontend: Frontend, request: Request) -> Route | None:
    """Give what answers, or None where this port has no such path."""
    if request.segments == ("token",) and not frontend.gate.is_open:
        return Route(pattern="/token", answer=_renew)
    method, segments = request.method, request.segments
    found = _find(method, segments) or find_management(method, segments)
    return None if found is None else Route(pattern=found[0], answer=found[1], tokens=_TOKENS)


def _find(method: str, segments: tuple[str, ...]) -> tuple[str, Answering] | None:
    match segments:
        case ("models",):
            return "/models", _of_models(method)
        case ("models", name):
            return "/models/{model}", _of_model(method, name, None)
        case ("models", name, version):
            return "/models/{model}/{version}", _of_model(method, name, version)
        case ("models", name, version, "set-default"):
            set_default = partial(_set_default, name=name, version=version)
            pattern = "/models/{model}/{version}/set-default"
            describing = partial(_describe, name=name, version=version)
            return pattern, {"PUT": set_default, "GET": describing}.get(method, _refuse)
        case ("v1", "models", name):
            ready = partial(_tell_ready, name=name)
            return "/v1/models/{model}", ready if method == "GET" else _refuse
    return None


def _of_models(method: str) -> Answering:
    return {"GET": _list, "POST": _register}.get(method, _refuse)


def _of_model(method: str, name: str, version: str | None) -> Answering:
    if method == "OPTIONS":
        return partial(_document, name=name)
    actions = {"GET": _describe, "PUT": _scale, "DELETE": _unregister}
    action = actions.get(method)
    return _refuse if action is None else partial(action, name=name, version=version)


async def _refuse(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    raise method_not_allowed()


def _to_answer(said: Said) -> Answer:
    return status_answer(said.text, said.status)


async def _list(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    return json_answer(list_models(frontend, Parameters.of(request)))


async def _register(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    if not frontend.settings.enable_model_api:
        raise method_not_allowed()
    return _to_answer(await register_model(frontend, Parameters.of_registration(request)))


async def _describe(
    frontend: Frontend,
    request: Request,
    reply: Reply,  # noqa: ARG001 - the routes' face
    *,
    name: str,
    version: str | None,
) -> Answer:
    """Describe one version, the default one, or all."""
    if not Parameters.of(request).flag("customized", default=False):
        return json_answer(describe_models(frontend, name, version))
    told = await describe_customized_models(
        frontend, name, version, headers=dict(request.headers), request_id=request.id
    )
    head = told[-1].head
    return replace(
        json_answer([each.document for each in told], head.status),
        reason=head.reason,
        headers=head.headers,
    )


async def _scale(
    frontend: Frontend,
    request: Request,
    reply: Reply,  # noqa: ARG001 - the routes' face
    *,
    name: str,
    version: str | None,
) -> Answer:
    parameters = Parameters.of(request)
    version = version or parameters.text("model_version")
    return _to_answer(await scale_model(frontend, name, version, parameters))


async def _set_default(
    frontend: Frontend,
    request: Request,  # noqa: ARG001 - the routes' face
    reply: Reply,  # noqa: ARG001 - the same
    *,
    name: str,
    version: str,
) -> Answer:
    return _to_answer(set_default(frontend, name, version))


async def _unregister(
    frontend: Frontend,
    request: Request,  # noqa: ARG001 - the routes' face
    reply: Reply,  # noqa: ARG001 - the same
    *,
    name: str,
    version: str | None,
) -> Answer:
    if not frontend.settings.enable_model_api:
        raise method_not_allowed()
    return _to_answer(await unregister_model(frontend, name, version))


async def _document(frontend: Frontend, request: Request, reply: Reply, *, name: str) -> Answer:  # noqa: ARG001 - the routes' face
    frontend.catalog.find(name)
    return json_answer(management_model_document(name))


async def _tell_ready(frontend: Frontend, request: Request, reply: Reply, *, name: str) -> Answer:  # noqa: ARG001 - the routes' face
    """Tell KServe whether a model has workers."""
    served = frontend.catalog.find(name)
    return json_answer({"name": name, "ready": has_workers(frontend, served, 1)})


async def _renew(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    """Make a new token; it is in the key file."""
    frontend.gate.renew(request)
    return Answer(body=b"\n", content_type="application/json")
