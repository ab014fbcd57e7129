"""The gRPC listeners of TorchServe's ports, in this process and event loop. Know no method."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Literal

import grpc

from torchloom_api.grpc import open_inference as native
from torchloom_api.grpc.listener import serving
from torchloom_api.settings import Address
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_settings import GrpcPort
from torchloom_api.torchserve.grpc.inference import Inference
from torchloom_api.torchserve.grpc.management import Management
from torchloom_api.torchserve.grpc.open_inference import OpenInference
from torchloom_api.torchserve.identity import Identity


Scope = Literal["inference", "management"]


@asynccontextmanager
async def listen(
    frontend: Frontend, identity: Identity | None
) -> AsyncIterator[Mapping[Scope, Address]]:
    """Serve on both ports, which may be one; gives where each is. Raises InvalidSettings.

    With an `identity` they speak TLS, and nothing else.
    """
    secured = None if identity is None else _credentials(identity)
    one, other = frontend.settings.grpc_inference, frontend.settings.grpc_management
    is_one = one.at == other.at and one.at.port != 0
    services: dict[Scope, list[grpc.ServiceRpcHandler]] = {
        "inference": _inference_services(frontend),
        "management": [Management(frontend).handler()],
    }
    if is_one:
        services["inference"] += services["management"]
    async with AsyncExitStack() as stack:
        found = {
            "inference": await stack.enter_async_context(
                _serving(frontend, one, services["inference"], secured)
            )
        }
        if not is_one:
            found["management"] = await stack.enter_async_context(
                _serving(frontend, other, services["management"], secured)
            )
        yield {"inference": found["inference"], "management": found.get("management", one.at)}


def _inference_services(frontend: Frontend) -> list[grpc.ServiceRpcHandler]:
    """Give the port's own service, and the protocol's under both its names if it is on."""
    services = [Inference(frontend).handler()]
    if frontend.settings.ts_open_inference_protocol:
        services += [
            OpenInference(frontend).handler(),
            native.OpenInference(frontend.service).handler(),
        ]
    return services


def _serving(
    frontend: Frontend,
    port: GrpcPort,
    services: list[grpc.ServiceRpcHandler],
    secured: grpc.ServerCredentials | None,
) -> AbstractAsyncContextManager[Address]:
    return serving(
        port.at,
        services,
        is_ready=frontend.is_healthy,
        options=_options(frontend, port),
        credentials=secured,
    )


def _options(frontend: Frontend, port: GrpcPort) -> Iterator[tuple[str, int]]:
    yield "grpc.max_receive_message_length", frontend.settings.max_request_size
    if port.max_age_s is not None:
        yield "grpc.max_connection_age_ms", round(port.max_age_s * 1000)
    if port.grace_s is not None:
        yield "grpc.max_connection_age_grace_ms", round(port.grace_s * 1000)


def _credentials(identity: Identity) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials([(identity.key, identity.chain)])
