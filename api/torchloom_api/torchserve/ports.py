"""Ports: who answers on each of TorchServe's, over HTTP and gRPC, for as long as it is wanted.

Imports the web frameworks: the server is imported without this module, so that its workers can
begin before. Knows not what is loaded.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext

from torchloom_api.app import create_app
from torchloom_api.edge import Edge
from torchloom_api.server import Listener, listening_on, to_config
from torchloom_api.torchserve.door import Door
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.grpc.listener import listen
from torchloom_api.torchserve.identity import Identity
from torchloom_api.torchserve.listen import Place, Port, places
from torchloom_api.torchserve.protocol import guard_spelled
from torchloom_api.torchserve.tls_listener import HttpsOnly, TlsListener


@asynccontextmanager
async def answering(
    frontend: Frontend,
    sockets: Mapping[Place, socket.socket],
    identity: Identity | None,
    context: ssl.SSLContext | None,
    *,
    has_grpc: bool,
) -> AsyncIterator[None]:
    """Answer on every port; at the end, let requests in hand finish. Raises InvalidSettings.

    `context`: what connections with TLS are opened with, of that `identity`.
    """
    async with (
        _over_http(frontend, sockets, context),
        _over_grpc(frontend, identity) if has_grpc else nullcontext(),
    ):
        yield


@asynccontextmanager
async def _over_http(
    frontend: Frontend, sockets: Mapping[Place, socket.socket], context: ssl.SSLContext | None
) -> AsyncIterator[None]:
    service = frontend.service
    app = create_app(service)
    native = service.settings
    protocol = guard_spelled(max_header_s=native.max_header_s, max_stall_s=native.max_stall_s)

    def listen(place: Place, door: Door) -> Listener:
        config = to_config(door, native, protocol=protocol, has_date=False)
        if not place.is_tls:
            return Listener(config)
        assert context is not None, "where a place speaks TLS there is one"
        refusing = HttpsOnly(frontend.extra_headers)
        plain = to_config(refusing, native, protocol=protocol, has_date=False)
        return TlsListener(config, plain, context)

    async with app.lifespan():
        listeners = []
        for place, ports in places(frontend.settings).items():
            scopes = _scopes(ports, is_model_api=frontend.settings.enable_model_api)
            door = Door(frontend, Edge(service, app, scopes), ports)
            listeners.append((listen(place, door), sockets[place]))
        async with listening_on(listeners):
            yield


@asynccontextmanager
async def _over_grpc(frontend: Frontend, identity: Identity | None) -> AsyncIterator[None]:
    named = identity if frontend.settings.enable_grpc_ssl else None
    async with listen(frontend, named) as addresses:
        frontend.grpc_addresses.update({scope: str(at) for scope, at in addresses.items()})
        yield


def _scopes(ports: frozenset[Port], *, is_model_api: bool) -> frozenset[str]:
    """Give the native API's scopes on a place: none to register where TorchServe has none."""
    return frozenset(port for port in ports if port != "management" or is_model_api)
