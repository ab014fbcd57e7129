"""The Open Inference Protocol under TorchServe's name, and under its own."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from api_fakes import handlers
from api_fakes.grpc_client import Client, ask
from api_fakes.torchserve import MakeMar, Serve, Served

from torchloom_api.grpc.proto import open_inference_pb2 as messages
from torchloom_api.torchserve.frontend import Predicted

from .conftest import Connect


_MODEL = "org.pytorch.serve.archive.model"


@pytest.fixture
async def protocol(serve: Serve, make_mar: MakeMar) -> Served:
    """Give a server that speaks the protocol, with a model that does too and one that does not."""
    make_mar("noop.mar")
    make_mar("tensors.mar", "tensors", version="1.5")
    return await serve(load_models=("noop.mar", "tensors.mar"), ts_open_inference_protocol=True)


@pytest.fixture
def tensors(protocol: Served, connect: Connect) -> Client:
    """Give a client of the service under TorchServe's name."""
    return connect(protocol, "tensors")


def _infer(model: str, version: str = "", *, is_raw: bool = False) -> messages.ModelInferRequest:
    request = messages.ModelInferRequest(model_name=model, model_version=version, id="7")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[2])
    if is_raw:
        request.raw_input_contents.append(b"\0\0\x80\x3f\0\0\0\x40")
    else:
        tensor.contents.fp32_contents.extend([1.0, 2.0])
    return request


async def test_tells_of_the_server_and_its_models(tensors: Client) -> None:
    """Versions are TorchServe's, which are any text."""
    live = await tensors.call("ServerLive", messages.ServerLiveRequest())
    ready = await tensors.call("ServerReady", messages.ServerReadyRequest())
    request = messages.ModelReadyRequest(name="tensors", version="1.5")
    model = await tensors.call("ModelReady", request)
    about = messages.ModelMetadataRequest(name="tensors")
    described = await tensors.call("ModelMetadata", about)

    assert (live.live, ready.ready, model.ready) == (True, True, True)
    assert (described.name, list(described.versions)) == ("tensors", ["1.5"])


@pytest.mark.parametrize("is_raw", [False, True])
async def test_hands_tensors_to_a_handler(tensors: Client, is_raw: bool) -> None:  # noqa: FBT001 - a case
    """As a document of the protocol; raw contents are answered raw."""
    answer = await tensors.call("ModelInfer", _infer("tensors", "1.5", is_raw=is_raw))

    assert (answer.model_name, answer.model_version, answer.id) == ("tensors", "1.5", "7")
    assert [(each.name, each.datatype, list(each.shape)) for each in answer.outputs] == [
        ("twice", "FP32", [2])
    ]
    if is_raw:
        assert list(answer.raw_output_contents) == [b"\0\0\0\x40\0\0\x80\x40"]
    else:
        assert list(answer.outputs[0].contents.fp32_contents) == [2.0, 4.0]


async def test_tells_that_a_handler_does_not_speak_the_protocol(tensors: Client) -> None:
    """Its worker lives: the next request is answered."""
    code, _ = await tensors.refusal("ModelInfer", _infer("noop"))
    assert code == "UNAVAILABLE"
    assert (await tensors.call("ModelInfer", _infer("tensors"))).outputs


@pytest.mark.parametrize(
    ("model", "version", "code", "details"),
    [
        ("", "", "INTERNAL", "Parameter model_name is required.\nBadRequestException.()"),
        ("zz", "", "INTERNAL", f"Model not found: zz\n{_MODEL}.ModelNotFoundException"),
        (
            "tensors",
            "9",
            "INTERNAL",
            (
                "Model version: 9 does not exist for model: tensors\n"
                f"{_MODEL}.ModelVersionNotFoundException"
            ),
        ),
    ],
)
async def test_tells_what_there_is_not(
    tensors: Client, model: str, version: str, code: str, details: str
) -> None:
    """In the words of the other services, and by the one code of what cannot begin."""
    assert await tensors.refusal("ModelInfer", _infer(model, version)) == (code, details)


async def test_is_there_under_its_own_name_too(protocol: Served) -> None:
    """KServe's clients ask for that."""
    async with grpc.aio.insecure_channel(protocol.frontend.grpc_addresses["inference"]) as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        assert await live(b"") == messages.ServerLiveResponse(live=True).SerializeToString()


async def test_is_not_there_unless_it_is_switched_on(served: Served, connect: Connect) -> None:
    """By `ts_open_inference_protocol`."""
    client = connect(served, "tensors")
    code, _ = await client.refusal("ServerLive", messages.ServerLiveRequest())
    assert code == "UNIMPLEMENTED"


async def test_asks_for_a_worker_that_waits(
    serve: Serve, make_mar: MakeMar, connect: Connect
) -> None:
    """Where the model has job tickets: otherwise the call is refused at once."""
    make_mar("tensors.mar", "tensors", config="useJobTicket: true\n")
    served = await serve(load_models=("tensors.mar",), ts_open_inference_protocol=True)
    client = connect(served, "tensors")
    answered = await client.call("ModelInfer", _infer("tensors"))
    handlers.admitted.clear()
    hanging = connect(served).call("Predictions", ask("tensors", do="hang"))
    assert await asyncio.to_thread(handlers.admitted.wait, 30)
    handlers.admitted.clear()
    code, details = await client.refusal("ModelInfer", _infer("tensors"))
    handlers.release.set()
    await hanging

    assert answered.outputs
    assert code == "INTERNAL"
    assert details.startswith('Model "tensors" has no worker to serve inference request. ')
    assert details.endswith("\nInternalServerException.()")
    assert not handlers.admitted.is_set()


async def test_tells_how_long_a_call_has_waited(protocol: Served, connect: Connect) -> None:
    """Whoever measures hears it of these calls as of any other."""
    told: list[Predicted] = []
    protocol.frontend.on_predicted.append(told.extend)
    await connect(protocol, "tensors").call("ModelInfer", _infer("tensors"))
    (over,) = told

    assert (over.model, over.status) == ("tensors", 200)
    assert over.queue_s is not None
    assert over.run_s is not None
    assert over.queue_s + over.run_s <= over.seconds
