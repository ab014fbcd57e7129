"""The gRPC listener: reflection, health, and ports that are taken."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from torchloom_api.grpc.listener import listen
from torchloom_api.service import Service
from torchloom_api.settings import Address, InvalidSettings


async def test_tells_its_services(channel: grpc.aio.Channel) -> None:
    """By reflection: names, and the files that describe them."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="inference.GRPCInferenceService"
        ),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"),
    ]
    listed, inference, health = [each async for each in stub.ServerReflectionInfo(iter(asked))]

    assert {service.name for service in listed.list_services_response.service} == {
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    for found in (inference, health):
        assert found.file_descriptor_response.file_descriptor_proto


async def test_tells_its_health(channel: grpc.aio.Channel, service: Service) -> None:
    """Of the server and of each service; whoever watches is told when it changes."""
    stub = health_pb2_grpc.HealthStub(channel)
    names = ["", "inference.GRPCInferenceService"]
    requests = [health_pb2.HealthCheckRequest(service=name) for name in names]
    healthy = [(await stub.Check(request)).status for request in requests]
    watch = stub.Watch(requests[0])
    first = await watch.read()
    service.is_started = False
    second = await watch.read()
    watch.cancel()
    unknown = stub.Watch(health_pb2.HealthCheckRequest(service="none"))
    third = await unknown.read()
    unknown.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="none"))

    kind = health_pb2.HealthCheckResponse
    assert healthy == [kind.SERVING, kind.SERVING]
    assert (first.status, second.status) == (kind.SERVING, kind.NOT_SERVING)
    assert third.status == kind.SERVICE_UNKNOWN
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_refuses_a_port_that_is_taken(service: Service) -> None:
    """The start ends with the address."""
    async with listen(service, Address("127.0.0.1", 0)) as address:
        assert address.port > 0
        with pytest.raises(InvalidSettings, match=str(address.port)):
            async with listen(service, address):
                pass
