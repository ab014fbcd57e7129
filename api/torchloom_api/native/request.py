"""What handlers are given: the service, the exchange, and the parameters of lists."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Annotated

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter, SkipValidation
from litestar.types import ASGIApp, Receive, Scope, Send

from torchloom_api.exchange import SCOPE_KEY, Exchange
from torchloom_api.service import Service


#: The application's one Service, by dependency injection.
ServiceParam = NamedDependency[SkipValidation[Service]]

#: How many items a page holds at most.
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many items at most.")]

#: The key of the item that a page begins behind.
After = Annotated[
    str | None, QueryParameter(max_length=256, description="`next` of the page before this one.")
]

#: A part of the path: a name, a label or an id.
PathText = FromPath[str]

AnyRequest = Request[object, object, State]


def answer_by(exchange: Exchange, answer: Coroutine[object, object, None]) -> ASGIApp:
    """Let a handler's answer be given over raw ASGI. Its failure goes to Edge, past Litestar."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI
        try:
            await answer
        except Exception as error:  # noqa: BLE001 - Edge is the one place that answers errors
            exchange.failure = error

    return application


def to_exchange(request: AnyRequest) -> Exchange:
    """Give the exchange of a request, which reads its body within limits."""
    exchange = dict(request.scope)[SCOPE_KEY]
    assert isinstance(exchange, Exchange), "Edge stands in front of every request"
    return exchange
