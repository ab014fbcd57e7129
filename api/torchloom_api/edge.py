"""Edge: where every request comes in and every error goes out. Pure ASGI, in front of Litestar.

The two hot routes are answered here; Litestar has them too, for its documents and odd spellings.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from torchloom.errors import QueueFull
from torchloom_api.call import predict, run_workflow
from torchloom_api.errors import PROBLEM, ElsewhereServed, Problem
from torchloom_api.exchange import GONE, SCOPE_KEY, ClientGone, Exchange
from torchloom_api.service import Service


_log = logging.getLogger(__name__)

#: The key under which a listener's scopes travel in the ASGI scope.
LISTENER_KEY: Final = "torchloom.scopes"

Call = Callable[[Service, Exchange, str], Awaitable[None]]

#: The hot routes by the second and fourth part of `/api/KIND/LABEL/VERB`.
_HOT: Final[Mapping[tuple[str, str], tuple[str, Call]]] = {
    ("models", "predict"): ("/api/models/{label}/predict", predict),
    ("workflows", "runs"): ("/api/workflows/{label}/runs", run_workflow),
}
_NUM_PARTS: Final = 5


class Edge:
    """The ASGI application of one listener, which serves some scopes of the API."""

    def __init__(self, service: Service, inner: ASGIApp, scopes: frozenset[str]) -> None:
        self._service = service
        self._inner = inner
        self._scopes = scopes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: whatever happens, by an answer or a closed connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._inner(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = Exchange(scope, receive, send)
        if self._service.orchestrator.is_draining:
            exchange.close_after()
        requests = self._service.requests
        requests.num_in_hand += 1
        try:
            await self._route(scope, exchange)
        except ClientGone:
            exchange.status = GONE
            _log.info("request %s: the client left", exchange.id)
        except Exception as error:  # noqa: BLE001 - the one place where any error becomes an answer
            await self._refuse(exchange, error)
        finally:
            requests.num_in_hand -= 1
            seconds = time.perf_counter() - started
            requests.observe(scope["method"], exchange.route, exchange.status, seconds)

    async def _route(self, scope: HTTPScope, exchange: Exchange) -> None:
        parts = scope["path"].split("/")
        if len(parts) == _NUM_PARTS and parts[1] == "api" and scope["method"] == "POST":
            hot = _HOT.get((parts[2], parts[4]))
            if hot is not None and parts[3]:
                exchange.route, call = hot
                await self._answer_hot(exchange, call, parts[3])
                return
        # ASGI lets applications add keys, which no type of a scope can know.
        extended = cast("dict[str, object]", scope)
        extended[SCOPE_KEY] = exchange
        extended[LISTENER_KEY] = self._scopes
        await self._inner(scope, exchange.receive, exchange.send_stamped)
        exchange.route = str(scope.get("path_template") or "unknown")
        if exchange.failure is not None:
            raise exchange.failure

    async def _answer_hot(self, exchange: Exchange, call: Call, label: str) -> None:
        if "inference" not in self._scopes:
            message = f"{exchange.path} is served by the inference listener."
            raise ElsewhereServed(message)
        max_requests = self._service.settings.max_requests
        if self._service.requests.num_in_hand > max_requests:
            message = f"The server has {max_requests} requests in hand. Try again later."
            raise QueueFull(message, retry_after_s=1.0)
        await call(self._service, exchange, label)

    async def _refuse(self, exchange: Exchange, error: Exception) -> None:
        if exchange.has_begun:
            _log.error("request %s broke off", exchange.id, exc_info=error)
            raise error
        problem = Problem.from_error(error, instance=exchange.path, request_id=exchange.id)
        await exchange.respond(problem.status, problem.encode(), PROBLEM, problem.headers)
