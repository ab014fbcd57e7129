"""Edge: where every request comes in and every error goes out. Pure ASGI, in front of Litestar.

Hot routes are answered here; Litestar has them too, for its documents and odd spellings.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from torchloom.errors import QueueFull
from torchloom_api.call import predict, run_workflow
from torchloom_api.errors import ElsewhereServed
from torchloom_api.exchange import GONE, SCOPE_KEY, ClientGone, Exchange
from torchloom_api.kserve.hot_call import find_hot
from torchloom_api.openai.hot_call import HOT_CALLS
from torchloom_api.refusal import to_refusal
from torchloom_api.service import Service


_log = logging.getLogger(__name__)

#: The key under which a listener's scopes travel in the ASGI scope.
LISTENER_KEY: Final = "torchloom.scopes"

#: The key under which the server's KeyRing travels there.
KEYS_KEY: Final = "torchloom.keys"

#: What the hot routes do.
_INFERENCE: Final = frozenset({"inference"})

Call = Callable[[Service, Exchange, str], Awaitable[None]]

#: What answers one request.
Answer = Callable[[], Awaitable[None]]

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
        hot = self._find_hot(exchange) if scope["method"] == "POST" else None
        if hot is not None:
            await self._answer_hot(exchange, hot)
            return
        # ASGI lets applications add keys, which no type of a scope can know.
        extended = cast("dict[str, object]", scope)
        extended[SCOPE_KEY] = exchange
        extended[LISTENER_KEY] = self._scopes
        extended[KEYS_KEY] = self._service.keys
        await self._inner(scope, exchange.receive, exchange.send_stamped)
        exchange.route = str(scope.get("path_template") or "unknown")
        if exchange.failure is not None:
            raise exchange.failure

    def _find_hot(self, exchange: Exchange) -> Answer | None:
        """Give what answers this path, if it is hot, and note its route."""
        path = exchange.path
        call = HOT_CALLS.get(path)
        if call is not None:
            exchange.route = path
            return partial(call, self._service, exchange)
        parts = path.split("/")
        kserve = find_hot(parts)
        if kserve is not None:
            exchange.route, call = kserve
            return partial(call, self._service, exchange)
        hot = _HOT.get((parts[2], parts[4])) if len(parts) == _NUM_PARTS else None
        if hot is None or parts[1] != "api" or not parts[3]:
            return None
        exchange.route, call_label = hot
        return partial(call_label, self._service, exchange, parts[3])

    async def _answer_hot(self, exchange: Exchange, answer: Answer) -> None:
        if "inference" not in self._scopes:
            message = f"{exchange.path} is served by the inference listener."
            raise ElsewhereServed(message)
        self._service.keys.require(exchange.headers, _INFERENCE)
        max_requests = self._service.settings.max_requests
        if self._service.requests.num_in_hand > max_requests:
            message = f"The server has {max_requests} requests in hand. Try again later."
            raise QueueFull(message, retry_after_s=1.0)
        await answer()

    async def _refuse(self, exchange: Exchange, error: Exception) -> None:
        if exchange.has_begun:
            _log.error("request %s broke off", exchange.id, exc_info=error)
            raise error
        answer = to_refusal(error, exchange)
        await exchange.respond(answer.status, answer.body, answer.media_type, answer.headers)
