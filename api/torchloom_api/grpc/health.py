"""The standard health service, `grpc.health.v1.Health`: what the server is, when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


#: How often a watcher is looked after, in seconds.
_WATCH_S: Final = 1.0

_Response: Final = health_pb2.HealthCheckResponse


class _Request(Protocol):
    """What is asked: the library's messages have no types."""

    service: str


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """Tells of the whole server (the empty name), and of its services, that they are as it is."""

    def __init__(self, is_ready: Callable[[], bool], names: Iterable[str]) -> None:
        self._is_ready = is_ready
        self._names = {"", *names}

    async def Check(self, request: _Request, context: grpc.aio.ServicerContext) -> object:  # noqa: N802 - the protocol's name
        """Tell whether work should be sent here."""
        if request.service not in self._names:
            message = f"There is no service {request.service!r} here."
            await context.abort(grpc.StatusCode.NOT_FOUND, message)
        return _Response(status=self._status())

    async def Watch(  # noqa: N802 - the protocol's name
        self,
        request: _Request,
        context: grpc.aio.ServicerContext,  # noqa: ARG002 - gRPC gives it
    ) -> AsyncIterator[object]:
        """Tell it at once, and whenever it changes."""
        last = None
        while True:
            is_known = request.service in self._names
            status = self._status() if is_known else _Response.SERVICE_UNKNOWN
            if status != last:
                last = status
                yield _Response(status=status)
            await asyncio.sleep(_WATCH_S)

    def _status(self) -> object:
        return _Response.SERVING if self._is_ready() else _Response.NOT_SERVING
