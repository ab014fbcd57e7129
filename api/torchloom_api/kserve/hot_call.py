"""Which call of KServe a path is: Edge answers those that do the work itself. Knows no Litestar."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from torchloom_api.exchange import Exchange
from torchloom_api.kserve.http_call import answer_infer
from torchloom_api.service import Service


#: What answers, given the service and the exchange.
Call = Callable[[Service, Exchange], Awaitable[None]]


def find_hot(parts: Sequence[str]) -> tuple[str, Call] | None:
    """Give the route and what answers it, by the path's parts, if it is hot."""
    match parts:
        case ["", "v2", "models", model, "infer"] if model:
            return "/v2/models/{model}/infer", partial(_infer, model=model)
        case ["", "v2", "models", model, "versions", version, "infer"] if model and version:
            route = "/v2/models/{model}/versions/{version}/infer"
            return route, partial(_infer, model=model, version=version)
    return None


async def _infer(service: Service, exchange: Exchange, *, model: str, version: str = "") -> None:
    await answer_infer(service, exchange, model, version)
