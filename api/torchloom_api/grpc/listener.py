"""The gRPC listener: a server of all services, in this process and event loop. Knows no method."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from torchloom_api.grpc.health import Health
from torchloom_api.grpc.open_inference import DESCRIPTOR, OpenInference
from torchloom_api.grpc.pool import POOL
from torchloom_api.service import Service
from torchloom_api.settings import Address, InvalidSettings


#: Seconds for calls that are still in hand once everything has been drained.
_END_S: Final = 1.0


@asynccontextmanager
async def listen(service: Service, address: Address) -> AsyncIterator[Address]:
    """Serve at an address; gives it with the port that was bound. Raises InvalidSettings."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", service.settings.max_body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a port that is taken is an error
        ]
    )
    _add_services(server, service)
    try:
        port = server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise InvalidSettings(f"Cannot listen on {address} for gRPC: {error}.") from error
    await server.start()
    try:
        yield Address(address.host, port)
    finally:
        await server.stop(_END_S)


def _add_services(server: grpc.aio.Server, service: Service) -> None:
    names = [DESCRIPTOR.full_name]
    server.add_generic_rpc_handlers((OpenInference(service).handler(),))
    health_pb2_grpc.add_HealthServicer_to_server(Health(service, names), server)
    for known in (health_pb2, reflection_pb2):
        POOL.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    names += [health_name, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server, pool=POOL)
