"""Routes of the inference port: ping, predictions by all their paths, and their documents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from torchloom_api.torchserve.answer import Answer, json_answer, status_answer
from torchloom_api.torchserve.endpoint import ask_model
from torchloom_api.torchserve.form import read_form
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import bad_request
from torchloom_api.torchserve.prediction import Call
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request
from torchloom_api.torchserve.route import Answering, Route
from torchloom_api.torchserve.token_file import TokenKind
from torchloom_api.torchserve.workflow.route import find_prediction


_TOKENS: Final[tuple[TokenKind, ...]] = ("inference",)

#: The version of TorchServe whose API this is.
VERSION: Final = "0.12.0"


def find_route(frontend: Frontend, request: Request) -> Route | None:
    """Give what answers, or None where this port has no such path."""
    segments = request.segments
    if not segments:
        return None
    first = segments[0]
    if first == "ping":
        is_open = frontend.settings.ping_without_token
        return Route(pattern="/ping", answer=ping, tokens=() if is_open else _TOKENS)
    found = (
        _find_prediction(segments)
        or find_prediction(segments)
        or _find_protocol(frontend, segments)
    )
    return None if found is None else Route(pattern=found[0], answer=found[1], tokens=_TOKENS)


async def ping(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    """Say whether every model has its workers."""
    if frontend.is_healthy():
        return status_answer("Healthy")
    return status_answer("Unhealthy", 500)


def _find_prediction(segments: Sequence[str]) -> tuple[str, Answering] | None:
    """Know the paths that ask a model: this is TorchServe's order."""
    match segments:
        case ["predictions" | "explanations" as verb, model, *rest]:
            return f"/{verb}/{{model}}", partial(_ask, call=_to_call(verb, model, rest))
    return _find_legacy(segments)


def _to_call(verb: str, model: str, rest: Sequence[str]) -> Call:
    return Call(
        model=model,
        version=rest[0] if rest else None,
        url_path="/".join(rest[1:]),
        is_explain=verb == "explanations",
    )


def _find_legacy(segments: Sequence[str]) -> tuple[str, Answering] | None:
    """Know the paths of SageMaker and of older servers; there, the query goes to handlers."""
    match segments:
        case ["invocations"]:
            return "/invocations", _invoke
        case ["models", model, "invoke"]:
            return "/models/{model}/invoke", _asking(model)
        case [model, "predict"]:
            return "/{model}/predict", _asking(model)
        case [model, version, "predict"]:
            return "/{model}/{version}/predict", _asking(model, version)
    return None


def _find_protocol(frontend: Frontend, segments: Sequence[str]) -> tuple[str, Answering] | None:
    """Know the paths of KServe: predictions always, the rest where it is switched on."""
    match segments:
        case ["v1", "models", named] if named.endswith((":predict", ":explain")):
            model, _, verb = named.rpartition(":")
            call = Call(model=model, is_explain=verb == "explain")
            return f"/v1/models/{{model}}:{verb}", partial(_ask, call=call)
        case ["v2", "models", model, "infer" | "explain" as verb]:
            call = Call(model=model, is_explain=verb == "explain")
            return f"/v2/models/{{model}}/{verb}", partial(_ask, call=call)
    if not frontend.settings.ts_open_inference_protocol:
        return None
    document: object
    match segments:
        case ["v2"]:
            document = {
                "name": "Torchserve",
                "version": VERSION,
                "extenstion": ["kserve", "kubeflow"],
            }
        case ["v2", "health", "ready"]:
            document = {"ready": frontend.is_healthy()}
        case ["v2", "health", "live"]:
            document = {"live": True}
        case ["v2", "models", _, "versions", _, *_]:
            refusal = json_answer({"error": "Model versioning is not yet supported."}, 501)
            return "/v2/models/{model}/versions", partial(_answer, answer=refusal)
        case _:
            return None
    return "/" + "/".join(segments), partial(_answer, answer=json_answer(document))


def _asking(model: str, version: str | None = None) -> Answering:
    return partial(_ask, call=Call(model=model, version=version, with_query=True))


async def _ask(frontend: Frontend, request: Request, reply: Reply, *, call: Call) -> Answer | None:
    return await ask_model(frontend, request, reply, call)


async def _invoke(frontend: Frontend, request: Request, reply: Reply) -> Answer | None:
    """Ask the model that query or form name, or the only one that there was at the start."""
    model = request.parameter("model_name") or _named_in_form(request)
    if not model:
        at_startup = {each.name for each in frontend.catalog.served() if each.is_at_startup}
        if len(at_startup) != 1:
            raise bad_request("Parameter model_name is required.")
        (model,) = at_startup
    return await ask_model(frontend, request, reply, Call(model=model, with_query=True))


def _named_in_form(request: Request) -> str | None:
    if "form" not in request.content_type.lower():
        return None
    named = read_form(request, with_query=False, is_decoded=False).fields.get("model_name")
    return named.decode("utf-8", "replace") if isinstance(named, bytes) else None


async def _answer(frontend: Frontend, request: Request, reply: Reply, *, answer: Answer) -> Answer:  # noqa: ARG001 - the routes' face
    return answer
