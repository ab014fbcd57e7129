"""Which call of KServe a path is: Edge answers those that do the work itself. Knows no Litestar."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Final

from torchloom_api.exchange import Exchange
from torchloom_api.kserve.http_call import answer_infer
from torchloom_api.kserve.predict_call import answer_explain, answer_predict
from torchloom_api.service import Service


#: What answers, given the service and the exchange.
Call = Callable[[Service, Exchange], Awaitable[None]]

#: The verbs of v1, which stand behind the model's label.
VERBS: Final[Mapping[str, Callable[[Service, Exchange, str], Coroutine[object, object, None]]]] = {
    "predict": answer_predict,
    "explain": answer_explain,
}


def find_hot(parts: Sequence[str]) -> tuple[str, Call] | None:
    """Give the route and what answers it, by the path's parts, if it is hot."""
    match parts:
        case ["", "v2", "models", model, "infer"] if model:
            return "/v2/models/{model}/infer", partial(_infer, model=model)
        case ["", "v2", "models", model, "versions", version, "infer"] if model and version:
            route = "/v2/models/{model}/versions/{version}/infer"
            return route, partial(_infer, model=model, version=version)
        case ["", "v1", "models", last]:
            return _find_verb(last)
    return None


def _find_verb(last: str) -> tuple[str, Call] | None:
    label, _, verb = last.rpartition(":")
    if not label or verb not in VERBS:
        return None
    return f"/v1/models/{{label}}:{verb}", partial(_ask, label=label, verb=verb)


async def _ask(service: Service, exchange: Exchange, *, label: str, verb: str) -> None:
    await VERBS[verb](service, exchange, label)


async def _infer(service: Service, exchange: Exchange, *, model: str, version: str = "") -> None:
    await answer_infer(service, exchange, model, version)
