"""Routes of the management port: register, list, describe, scale, choose, remove, renew tokens."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import Final

from torchloom_api.torchserve.answer import Answer, json_answer, status_answer
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.change import check_scale, scale, unregister
from torchloom_api.torchserve.describing import describe, describe_customized
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import FrontendError, method_not_allowed
from torchloom_api.torchserve.listing import to_page
from torchloom_api.torchserve.open_api import management_model_document
from torchloom_api.torchserve.parameters import Parameters
from torchloom_api.torchserve.registration import Order
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request
from torchloom_api.torchserve.route import Answering, Route
from torchloom_api.torchserve.token_file import TokenKind
from torchloom_api.torchserve.workflow.route import find_management


_log = logging.getLogger(__name__)

_TOKENS: Final[tuple[TokenKind, ...]] = ("management",)

_UPDATING: Final = "Processing worker updates..."

#: Scalings that nobody waits for.
_scaling: set[asyncio.Task[None]] = set()


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


async def _list(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    """List the default version of each name, a page at a time; functions of workflows are none."""
    defaults = [frontend.catalog.find(name) for name in frontend.catalog.names()]
    models = [each for each in defaults if not each.is_function]
    shown = [{"modelName": each.name, "modelUrl": each.url} for each in models]
    return json_answer(to_page(request, "models", shown))


async def _register(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    """Register an archive."""
    if not frontend.settings.enable_model_api:
        raise method_not_allowed()
    order = Order.of(Parameters.of_registration(request))
    served = await frontend.registration.register(order)
    count = served.limits.min_workers
    if count and not order.is_synchronous:
        return status_answer(_UPDATING, 202)
    text = (
        f'Model "{served.name}" Version: {served.version} registered with {count} initial workers'
    )
    hint = ". Use scale workers API to add workers for the model."
    return status_answer(text if count else text + hint)


async def _describe(
    frontend: Frontend,
    request: Request,
    reply: Reply,  # noqa: ARG001 - the routes' face
    *,
    name: str,
    version: str | None,
) -> Answer:
    """Describe one version, the default one, or all."""
    catalog = frontend.catalog
    chosen = catalog.versions(name) if version == "all" else [catalog.find(name, version)]
    if not Parameters.of(request).flag("customized", default=False):
        return json_answer([describe(frontend, each) for each in chosen])
    told = [await describe_customized(frontend, request, each) for each in chosen]
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
    """Change the number of workers."""
    parameters = Parameters.of(request)
    version = version or parameters.text("model_version")
    served = frontend.catalog.find(name, version)
    least = parameters.number("min_worker")
    least, most = check_scale(1 if least is None else least, parameters.number("max_worker"))
    scaling = asyncio.get_running_loop().create_task(
        scale(frontend, served, least, most, version or "null")
    )
    _scaling.add(scaling)
    scaling.add_done_callback(_end_scaling)
    if not parameters.flag("synchronous", default=False):
        return status_answer(_UPDATING, 202)
    await asyncio.shield(scaling)
    if not _has_all(frontend, served, least):
        return status_answer("Workers scaling in progress...", 206)
    which = f", version: {version}" if version else ""
    return status_answer(f"Workers scaled to {least} for model: {name}{which}")


def _end_scaling(scaling: asyncio.Task[None]) -> None:
    _scaling.discard(scaling)
    if not scaling.cancelled():
        scaling.exception()  # who waits for it is told; else the log has it


def _has_all(frontend: Frontend, served: Served, count: int) -> bool:
    status = frontend.catalog.status(served)
    ready = [each for each in status.replicas if each.state == "ready"] if status else []
    return len(ready) >= count


async def _set_default(
    frontend: Frontend,
    request: Request,  # noqa: ARG001 - the routes' face
    reply: Reply,  # noqa: ARG001 - the same
    *,
    name: str,
    version: str,
) -> Answer:
    """Let requests that name no version go to one."""
    catalog = frontend.catalog
    versions = {each.version: each for each in catalog.versions(name)}
    if version not in versions:
        message = f"Model version {version} does not exist for model {name}"
        raise FrontendError(404, "ModelVersionNotFoundException", message)
    catalog.set_default(versions[version])
    catalog.on_change()
    return status_answer(f'Default version successfully updated for model "{name}" to "{version}"')


async def _unregister(
    frontend: Frontend,
    request: Request,  # noqa: ARG001 - the routes' face
    reply: Reply,  # noqa: ARG001 - the same
    *,
    name: str,
    version: str | None,
) -> Answer:
    """Remove a version, or the only one that there is."""
    if not frontend.settings.enable_model_api:
        raise method_not_allowed()
    await unregister(frontend, frontend.catalog.find(name, version))
    return status_answer(f'Model "{name}" unregistered')


async def _document(frontend: Frontend, request: Request, reply: Reply, *, name: str) -> Answer:  # noqa: ARG001 - the routes' face
    frontend.catalog.find(name)
    return json_answer(management_model_document(name))


async def _tell_ready(frontend: Frontend, request: Request, reply: Reply, *, name: str) -> Answer:  # noqa: ARG001 - the routes' face
    """Tell KServe whether a model has workers."""
    served = frontend.catalog.find(name)
    return json_answer({"name": name, "ready": _has_all(frontend, served, 1)})


async def _renew(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    """Make a new token; it is in the key file."""
    frontend.gate.renew(request)
    return Answer(body=b"\n", content_type="application/json")
