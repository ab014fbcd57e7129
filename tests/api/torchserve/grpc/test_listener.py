"""The gRPC listeners: where they are, and what keeps them from it."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import grpc
import pytest
from api_fakes.grpc_client import ASKED, MANAGED, OPEN_INFERENCE, Client, ask
from api_fakes.torchserve import MakeMar, Serve, Served
from google.protobuf import descriptor_pb2, empty_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from torchloom_api.grpc.proto import torchserve_management_pb2 as management
from torchloom_api.settings import Address, InvalidSettings
from torchloom_api.torchserve.frontend_settings import GrpcPort
from torchloom_api.torchserve.registration import Order


async def test_serves_both_services_on_one_port_where_both_are_there(
    serve: Serve, free_port: int
) -> None:
    """Equal addresses are one port, as those of HTTP are."""
    port = GrpcPort(at=Address("127.0.0.1", free_port))
    served = await serve(grpc_inference=port, grpc_management=port)
    address = served.frontend.grpc_addresses

    assert address["inference"] == address["management"] == f"127.0.0.1:{free_port}"
    async with grpc.aio.insecure_channel(address["inference"]) as channel:
        assert (await Client(channel, ASKED).call("Ping", empty_pb2.Empty())).health
        listed = Client(channel, MANAGED).call("ListModels", management.ListModelsRequest())
        assert "models" in (await listed).msg


async def test_refuses_a_port_that_is_taken(served: Served, serve: Serve) -> None:
    """The start ends with the address."""
    taken = Address.parse(served.frontend.grpc_addresses["inference"])
    with pytest.raises(InvalidSettings, match=str(taken.port)):
        await serve(grpc_management=GrpcPort(at=taken))


async def test_ends_connections_that_have_their_age(serve: Serve, make_mar: MakeMar) -> None:
    """A client that is told so connects anew, and loses nothing."""
    make_mar("noop.mar")
    port = GrpcPort(at=Address("127.0.0.1", 0), max_age_s=0.05, grace_s=10.0)
    served = await serve(load_models=("noop.mar",), grpc_inference=port)
    clients = set()
    served.frontend.on_called.append(lambda called: clients.add(called.client))
    async with grpc.aio.insecure_channel(served.frontend.grpc_addresses["inference"]) as channel:
        client = Client(channel, ASKED)
        while len(clients) < 3:  # ends only where connections do
            assert (await client.call("Predictions", ask(do="body 1"))).prediction == b"x"


async def test_speaks_tls(serve: Serve, tmp_path: Path) -> None:
    """With a certificate and its key, both PEM; then it speaks nothing else."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]
    words += ["-keyout", str(key), "-out", str(certificate)]
    try:
        await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl")
    served = await serve(
        enable_grpc_ssl=True, certificate_file=str(certificate), private_key_file=str(key)
    )
    address = served.frontend.grpc_addresses["inference"].replace("127.0.0.1", "localhost")
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    async with grpc.aio.secure_channel(address, credentials) as channel:
        assert (await Client(channel, ASKED).call("Ping", empty_pb2.Empty())).health
    async with grpc.aio.insecure_channel(address) as channel:
        code, _ = await Client(channel, ASKED).refusal("Ping", empty_pb2.Empty())
    assert code == "UNAVAILABLE"


async def test_tells_of_a_certificate_that_is_not_there(serve: Serve, tmp_path: Path) -> None:
    """The start ends with the file."""
    missing = str(tmp_path / "none.key")
    with pytest.raises(InvalidSettings, match=r"none\.key"):
        await serve(enable_grpc_ssl=True, certificate_file=missing, private_key_file=missing)


async def test_tells_the_services_of_each_port(serve: Serve) -> None:
    """By reflection, with the files that describe them, and without a token."""
    served = await serve(ts_open_inference_protocol=True, disable_token_authorization=False)
    standard = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    expected = {
        "inference": {ASKED.full_name, OPEN_INFERENCE, "inference.GRPCInferenceService"},
        "management": {MANAGED.full_name},
    }
    for port, own in expected.items():
        symbols = sorted(own)
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            *(reflection_pb2.ServerReflectionRequest(file_containing_symbol=s) for s in symbols),
        ]
        async with grpc.aio.insecure_channel(served.frontend.grpc_addresses[port]) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            listed, *files = [each async for each in stub.ServerReflectionInfo(iter(asked))]
        names = {each.name for each in listed.list_services_response.service}
        assert names == own | standard
        for symbol, file in zip(symbols, files, strict=True):
            described = {
                f"{each.package}.{service.name}"
                for text in file.file_descriptor_response.file_descriptor_proto
                for each in [descriptor_pb2.FileDescriptorProto.FromString(text)]
                for service in each.service
            }
            assert symbol in described


async def test_tells_the_health_of_the_server(serve: Serve) -> None:
    """As `/ping` does: of all, and of each of the port's services; no token is asked for."""
    served = await serve(disable_token_authorization=False)
    async with grpc.aio.insecure_channel(served.frontend.grpc_addresses["inference"]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        names = ["", ASKED.full_name]
        requests = [health_pb2.HealthCheckRequest(service=name) for name in names]
        healthy = [(await stub.Check(request)).status for request in requests]
        served.frontend.absent.put(Order(url="broken.mar"), 500)
        after = (await stub.Check(requests[0])).status
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service=MANAGED.full_name))

    kind = health_pb2.HealthCheckResponse
    assert healthy == [kind.SERVING, kind.SERVING]
    assert after == kind.NOT_SERVING
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
