"""The Open Inference Protocol over gRPC, on real sockets."""

from __future__ import annotations

import asyncio
import hashlib

import grpc
import numpy as np
import pytest
from api_fakes.documents import EMBEDDER, WRITER, Register
from api_fakes.turns import turns

from torchloom_api.grpc.proto import open_inference_pb2 as messages
from torchloom_api.key_ring import ApiKey, KeyRing
from torchloom_api.service import Service


SERVICE = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"]

DOUBLER = """
name: doubler
kind: module
factory: doubler
"""

ENDLESS = """
name: endless
factory: endless
"""


async def _call(
    channel: grpc.aio.Channel, method: str, request: object, **options: object
) -> object:
    answer = getattr(messages, SERVICE.methods_by_name[method].output_type.name)
    ask = channel.unary_unary(
        f"/{SERVICE.full_name}/{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    return await ask(request, **options)


def _numbers(model: str, *rows: float, version: str = "") -> messages.ModelInferRequest:
    request = messages.ModelInferRequest(model_name=model, model_version=version, id="7")
    each = request.inputs.add(name="x", datatype="FP32", shape=[len(rows), 1])
    each.contents.fp32_contents.extend(rows)
    return request


async def _refused(
    channel: grpc.aio.Channel, request: object, method: str = "ModelInfer", **options: object
) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _call(channel, method, request, **options)
    return caught.value


async def test_tells_what_it_is(channel: grpc.aio.Channel, service: Service) -> None:
    """Alive, ready or not, and what it serves."""
    live = await _call(channel, "ServerLive", messages.ServerLiveRequest())
    ready = await _call(channel, "ServerReady", messages.ServerReadyRequest())
    server = await _call(channel, "ServerMetadata", messages.ServerMetadataRequest())
    service.is_started = False
    starting = await _call(channel, "ServerReady", messages.ServerReadyRequest())

    assert (live.live, ready.ready, starting.ready) == (True, True, False)
    assert (server.name, "binary_tensor_data" in server.extensions) == ("torchloom", True)


async def test_describes_models(channel: grpc.aio.Channel, register: Register) -> None:
    """Tensors, versions and readiness."""
    await register(EMBEDDER, EMBEDDER + "version: 3")
    model = await _call(channel, "ModelMetadata", messages.ModelMetadataRequest(name="vectors"))
    ready = await _call(
        channel, "ModelReady", messages.ModelReadyRequest(name="vectors", version="3")
    )
    error = await _refused(channel, messages.ModelReadyRequest(name="vector"), "ModelReady")

    assert (list(model.versions), ready.ready) == (["1", "3"], True)
    assert [(each.name, list(each.shape)) for each in model.inputs] == [("text", [-1])]
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "Did you mean 'vectors'" in error.details()


async def test_answers_an_inference(channel: grpc.aio.Channel, register: Register) -> None:
    """Typed where it came typed, raw where it came raw; the request's id comes back."""
    await register(DOUBLER)
    typed = await _call(channel, "ModelInfer", _numbers("doubler", 1, 2, version="1"))
    request = messages.ModelInferRequest(model_name="doubler")
    request.inputs.add(name="x", datatype="FP32", shape=[2, 1])
    request.raw_input_contents.append(np.array([[3], [4]], np.float32).tobytes())
    raw = await _call(channel, "ModelInfer", request)

    assert (typed.model_name, typed.model_version, typed.id) == ("doubler", "1", "7")
    assert list(typed.outputs[0].contents.fp32_contents) == [2.0, 4.0]
    assert np.frombuffer(raw.raw_output_contents[0], np.float32).tolist() == [6.0, 8.0]


async def test_gives_text_and_takes_parameters(
    channel: grpc.aio.Channel, register: Register
) -> None:
    """As over HTTP."""
    await register(WRITER)
    request = messages.ModelInferRequest(model_name="writer")
    each = request.inputs.add(name="prompt", datatype="BYTES", shape=[1])
    each.contents.bytes_contents.append(b"one two three")
    request.parameters["max_tokens"].int64_param = 2
    request.outputs.add(name="text")
    answer = await _call(channel, "ModelInfer", request)

    assert [output.name for output in answer.outputs] == ["text"]
    assert list(answer.outputs[0].contents.bytes_contents) == [b"one two "]


async def test_says_what_is_wrong(
    channel: grpc.aio.Channel, register: Register, service: Service
) -> None:
    """Each error has its code, and the words that it has over HTTP."""
    await register(DOUBLER)
    unknown = await _refused(channel, _numbers("doubled", 1))
    version = await _refused(channel, _numbers("doubler", 1, version="9"))
    invalid = await _refused(channel, _numbers("doubler", 1, 13))
    service.orchestrator.is_draining = True
    draining = await _refused(channel, _numbers("doubler", 1))

    assert unknown.code() is version.code() is grpc.StatusCode.NOT_FOUND
    assert invalid.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert invalid.details() == "Row 1: 13 is not doubled."
    assert draining.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(draining.trailing_metadata())["retry-after"] == "1"


async def test_asks_for_keys(
    channel: grpc.aio.Channel, register: Register, service: Service
) -> None:
    """As metadata, with the scopes of HTTP; health needs none."""
    await register(DOUBLER)
    service.keys = KeyRing([_key("secret")])
    none = await _refused(channel, _numbers("doubler", 1))
    wrong = await _refused(channel, _numbers("doubler", 1), metadata=[("x-api-key", "other")])
    good = await _call(
        channel,
        "ModelInfer",
        _numbers("doubler", 1),
        metadata=[("authorization", "Bearer secret")],
    )
    live = await _call(channel, "ServerLive", messages.ServerLiveRequest())
    service.keys = KeyRing([_key("secret", "metrics")])
    scope = await _refused(channel, _numbers("doubler", 1), metadata=[("x-api-key", "secret")])

    assert none.code() is wrong.code() is grpc.StatusCode.UNAUTHENTICATED
    assert good.outputs[0].name == "y"
    assert live.live
    assert scope.code() is grpc.StatusCode.PERMISSION_DENIED


def _key(text: str, scope: str = "inference") -> ApiKey:
    digest = hashlib.sha256(text.encode()).digest()
    return ApiKey(name="app", digest=digest, scopes=frozenset({scope}))


async def test_ends_at_the_deadline(
    channel: grpc.aio.Channel, register: Register, service: Service
) -> None:
    """The client's deadline reaches the engine."""
    await register(ENDLESS)
    error = await _refused(channel, _numbers("endless", 1), timeout=0.05)

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await turns(lambda: service.orchestrator.models()[0].replicas[0].in_flight == 0)


async def test_cancels_what_a_client_cancels(
    channel: grpc.aio.Channel, register: Register, service: Service
) -> None:
    """Every row, down to the engine; metrics count it as left."""
    await register(ENDLESS)
    call = asyncio.create_task(_call(channel, "ModelInfer", _numbers("endless", 1, 2)))
    await turns(lambda: service.orchestrator.models()[0].replicas[0].in_flight == 2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await turns(lambda: service.requests.num_in_hand == 0)
    await turns(lambda: service.orchestrator.models()[0].replicas[0].in_flight == 0)

    series = [each for each in service.requests.snapshot() if "499" in each.labels]
    assert any("/inference.GRPCInferenceService/ModelInfer" in each.labels for each in series)


async def test_limits_requests(
    channel: grpc.aio.Channel, register: Register, service: Service
) -> None:
    """How many are in hand, over HTTP and gRPC together, and how large one is."""
    await register(DOUBLER)
    service.requests.num_in_hand = service.settings.max_requests
    full = await _refused(channel, _numbers("doubler", 1))
    service.requests.num_in_hand = 0
    request = messages.ModelInferRequest(model_name="doubler")
    request.raw_input_contents.append(bytes(service.settings.max_body_bytes + 1))
    large = await _refused(channel, request)

    assert full.code() is grpc.StatusCode.UNAVAILABLE
    assert large.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_refuses_a_method_that_there_is_not(channel: grpc.aio.Channel) -> None:
    """Triton has more than the protocol."""
    ask = channel.unary_unary(f"/{SERVICE.full_name}/RepositoryIndex")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
