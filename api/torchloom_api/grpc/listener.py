"""The gRPC listener: a server of services, in this process and event loop. Knows no method.

Each port also has the standard health service and reflection, which ask for no key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from torchloom_api.grpc.health import Health
from torchloom_api.grpc.open_inference import OpenInference
from torchloom_api.grpc.pool import POOL
from torchloom_api.kserve.metadata import is_server_ready
from torchloom_api.service import Service
from torchloom_api.settings import Address, InvalidSettings


#: Seconds for calls that are still in hand once everything has been drained.
_END_S: Final = 1.0


@asynccontextmanager
async def listen(service: Service, address: Address) -> AsyncIterator[Address]:
    """Serve at an address; gives it with the port that was bound. Raises InvalidSettings."""
    services = [OpenInference(service).handler()]
    options = [("grpc.max_receive_message_length", service.settings.max_body_bytes)]
    async with serving(
        address, services, is_ready=lambda: is_server_ready(service), options=options
    ) as bound:
        yield bound


@asynccontextmanager
async def serving(
    address: Address,
    services: Sequence[grpc.ServiceRpcHandler],
    *,
    is_ready: Callable[[], bool],
    options: Iterable[tuple[str, int]] = (),
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[Address]:
    """Serve these services, and what tells of them; gives the address with the port that was bound.

    With `credentials` it speaks TLS, and nothing else. Raises InvalidSettings.
    """
    fixed = [
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # a port that is taken is an error
    ]
    server = grpc.aio.server(options=[*options, *fixed])
    server.add_generic_rpc_handlers(tuple(services))
    _tell_of(server, [each.service_name() for each in services], is_ready)
    try:
        if credentials is None:
            port = server.add_insecure_port(str(address))
        else:
            port = server.add_secure_port(str(address), credentials)
    except RuntimeError as error:
        raise InvalidSettings(f"Cannot listen on {address} for gRPC: {error}.") from error
    await server.start()
    try:
        yield Address(address.host, port)
    finally:
        await server.stop(_END_S)


def _tell_of(server: grpc.aio.Server, names: Sequence[str], is_ready: Callable[[], bool]) -> None:
    health_pb2_grpc.add_HealthServicer_to_server(Health(is_ready, names), server)
    for known in (health_pb2, reflection_pb2):
        POOL.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    known_names = [*names, health_name, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(known_names, server, pool=POOL)
