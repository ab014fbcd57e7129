"""Door: the ASGI application of one port of TorchServe's: its own routes, and the native API.

Whatever happens to a request, it is answered here, in TorchServe's shape on TorchServe's routes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from torchloom_api.body import BodyLimit
from torchloom_api.errors import BadRequest, RequestTooLarge
from torchloom_api.exchange import GONE, ClientGone, Exchange
from torchloom_api.torchserve import inference, management, metrics_port
from torchloom_api.torchserve.answer import Answer, error_answer, json_answer
from torchloom_api.torchserve.frontend import Answered, Frontend
from torchloom_api.torchserve.frontend_error import (
    method_not_allowed,
    resource_not_found,
    to_frontend_error,
)
from torchloom_api.torchserve.listen import PORTS, Port
from torchloom_api.torchserve.open_api import (
    inference_document,
    management_document,
    metrics_document,
)
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request, read_request, split_path
from torchloom_api.torchserve.request_id import new_uuid
from torchloom_api.torchserve.route import Answering, Route, refusal_route
from torchloom_api.torchserve.token_file import TokenKind


_log = logging.getLogger(__name__)

_FINDERS: Final[Mapping[Port, Callable[[Frontend, Request], Route | None]]] = {
    "inference": inference.find_route,
    "management": management.find_route,
    "metrics": metrics_port.find_route,
}

_DOCUMENTS: Final[Mapping[Port, Callable[[], dict[str, object]]]] = {
    "inference": inference_document,
    "management": management_document,
    "metrics": metrics_document,
}


class Door:
    """Answers on one port, which may be several of TorchServe's at once.

    `native` answers below `/api` and `/v1`, where TorchServe has nothing to say.
    """

    def __init__(self, frontend: Frontend, native: ASGIApp, ports: frozenset[Port]) -> None:
        self._frontend = frontend
        self._native = native
        self._ports = [port for port in PORTS if port in ports]
        self._tokens: tuple[TokenKind, ...] = tuple(p for p in self._ports if p != "metrics")
        self._extra = frontend.extra_headers
        settings = frontend.service.settings
        self._limit = BodyLimit(
            max_bytes=frontend.settings.max_request_size, timeout_s=settings.max_body_s
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: whatever happens, by an answer or a closed connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._native(scope, receive, send)
            return
        segments = split_path(scope["path"])
        if self._is_native(segments):
            await self._pass_on(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = Exchange(scope, receive, send, own_id=new_uuid())
        requests = self._frontend.service.requests
        requests.num_in_hand += 1
        try:
            await self._answer(exchange, segments)
        except ClientGone:
            exchange.status = GONE
            _log.info("request %s: the client left", exchange.id)
        finally:
            requests.num_in_hand -= 1
            seconds = time.perf_counter() - started
            requests.observe(scope["method"], exchange.route, exchange.status, seconds)

    async def _pass_on(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Let the native API answer, and tell those who watch."""
        started = time.perf_counter()
        status = GONE

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._native(scope, receive, note)
        finally:
            if status != GONE:
                self._tell(scope, status, time.perf_counter() - started, is_native=True)

    def _is_native(self, segments: tuple[str, ...]) -> bool:
        """Tell what is for the native API: TorchServe has no `/api`, and little below `/v1`."""
        match segments:
            case ("api" | "v1", "predict") | ("api", _, "predict"):
                return False
            case ("v1", "models", named) if ":" in named:
                return False
            case ("v1", "models", named) if "management" in self._ports:
                return "inference" in self._ports and not self._frontend.catalog.has(named)
            case ("api" | "v1", *_):
                return True
        return False

    async def _answer(self, exchange: Exchange, segments: tuple[str, ...]) -> None:
        """Read the request, find its route, and answer it; tell those who watch."""
        started = time.perf_counter()
        is_draining = self._frontend.service.orchestrator.is_draining
        reply = Reply(exchange, self._extra, closes=is_draining)
        try:
            request = await read_request(exchange, segments, self._limit)
            route = self._find(request)
            exchange.route = route.pattern
            if route.tokens:
                self._frontend.gate.require(request, route.tokens)
            if self._frontend.before is not None:
                await self._frontend.before(request)
            answer = await route.answer(self._frontend, request, reply)
        except RequestTooLarge:
            await reply.send(Answer(status=413, is_bare=True))
            return
        except Exception as error:
            if exchange.has_begun:
                self._tell(exchange.scope, exchange.status, time.perf_counter() - started)
            if isinstance(error, ClientGone):
                raise
            answer = self._refuse(exchange, error)
        if answer is not None:
            await reply.send(answer)
        self._tell(exchange.scope, exchange.status, time.perf_counter() - started)

    def _refuse(self, exchange: Exchange, error: Exception) -> Answer:
        if exchange.has_begun:
            _log.error("request %s broke off", exchange.id, exc_info=error)
            raise error
        if isinstance(error, BadRequest):
            _log.info("request %s: %s", exchange.id, error.message)
        return error_answer(to_frontend_error(error, exchange.id))

    def _find(self, request: Request) -> Route:
        """Give the route: the port's own document, one of its paths, or what refuses all others."""
        described = self._find_document(request)
        if described is not None:
            return described
        if not request.segments:
            return refusal_route(method_not_allowed(), self._tokens)
        for port in self._ports:
            route = _FINDERS[port](self._frontend, request)
            if route is not None:
                return route
        return refusal_route(resource_not_found(), self._tokens)

    def _find_document(self, request: Request) -> Route | None:
        """Know the two paths that describe the port itself, for which no token is asked."""
        is_root = not request.segments and request.method == "OPTIONS"
        if is_root or request.segments == ("api-description",):
            return Route(pattern="/" if is_root else "/api-description", answer=self._describe())
        return None

    def _describe(self) -> Answering:
        async def describe(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
            return json_answer(_DOCUMENTS[self._ports[0]]())

        return describe

    def _tell(
        self, scope: HTTPScope, status: int, seconds: float, *, is_native: bool = False
    ) -> None:
        query = scope["query_string"].decode("latin-1")
        client = scope["client"]
        told = Answered(
            client=f"{client[0]}:{client[1]}" if client else "",
            method=scope["method"],
            uri=scope["path"] + (f"?{query}" if query else ""),
            http_version=scope["http_version"],
            status=status,
            seconds=seconds,
            is_native=is_native,
        )
        for listen in self._frontend.on_answered:
            listen(told)
