"""The service of the inference port over real sockets, with engines in threads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import grpc
import pytest
from api_fakes import handlers
from api_fakes.grpc_client import Client, ask, predictions
from api_fakes.torchserve import MakeLlm, MakeMar, Serve, Served
from google.protobuf import empty_pb2

from torchloom_api.grpc.proto import rpc_status_pb2
from torchloom_api.grpc.proto import torchserve_inference_pb2 as messages
from torchloom_api.torchserve.registration import Order

from .conftest import Connect


_MODEL = "org.pytorch.serve.archive.model"
_FAILED = "org.pytorch.serve.http.InternalServerException"


async def test_tells_its_health_in_the_words_of_http(client: Client, served: Served) -> None:
    """The document is HTTP's, without the line's end."""
    healthy = await client.call("Ping", empty_pb2.Empty())
    served.frontend.absent.put(Order(url="gone.mar"), 500)
    unhealthy = await client.call("Ping", empty_pb2.Empty())

    assert healthy.health == '{\n  "status": "Healthy"\n}'
    assert unhealthy.health == '{\n  "status": "Unhealthy"\n}'


async def test_gives_a_handler_the_fields_as_bytes(client: Client) -> None:
    """Also where they say JSON; there are no headers, whatever the metadata have."""
    request = ask(version="1.0", data=b"hi", other=b"{}")
    seen = json.loads((await client.call("Predictions", request)).prediction)

    assert seen["inputs"] == {"data": ["bytes", "hi"], "other": ["bytes", "{}"]}
    assert seen["params"] == {"is_explain": None, "url_path": None}
    assert seen["model"] == ["noop", "1.0"]


async def test_gives_all_parts_in_one_answer(client: Client) -> None:
    """As HTTP does, whose client reads them as one body."""
    answer = await client.call("Predictions", ask(do="stream 2"))

    assert answer.prediction == b"part 0;part 1;last"


async def test_streams_parts_as_they_come(client: Client) -> None:
    """Each is an answer; nothing else is in it."""
    parts = [part async for part in client.call("StreamPredictions", ask(do="stream 2"))]

    assert parts == [
        messages.PredictionResponse(prediction=text) for text in (b"part 0;", b"part 1;", b"last")
    ]


async def test_streams_the_answer_of_a_handler_that_has_no_parts(client: Client) -> None:
    """TorchServe's server falls over such a handler."""
    assert await predictions(client.call("StreamPredictions", ask(do="body 3"))) == [b"xxx"]


@pytest.mark.parametrize("method", ["Predictions", "StreamPredictions"])
@pytest.mark.parametrize(
    ("model", "version", "details"),
    [
        ("zz", "", f"Model not found: zz\n{_MODEL}.ModelNotFoundException"),
        (
            "noop",
            "9",
            (
                "Model version: 9 does not exist for model: noop\n"
                f"{_MODEL}.ModelVersionNotFoundException"
            ),
        ),
        ("", "", "Parameter model_name is required.\nBadRequestException.()"),
    ],
)
async def test_has_one_code_for_what_cannot_begin(
    client: Client, method: str, model: str, version: str, details: str
) -> None:
    """It is INTERNAL, whatever HTTP has."""
    assert await client.refusal(method, ask(model, version, data="x")) == ("INTERNAL", details)


async def test_tells_that_there_is_no_worker(
    connect: Connect, serve: Serve, make_mar: MakeMar
) -> None:
    """In the words of HTTP, with another class."""
    make_mar("idle.mar", "idle")
    served = await serve(default_workers_per_model=0)
    await served.register("idle.mar", initial_workers=0)
    code, details = await connect(served).refusal("Predictions", ask("idle", data="x"))

    assert code == "INTERNAL"
    assert details.startswith('Model "idle" has no worker to serve inference request. ')
    assert details.endswith("exceeds maxSequenceJobQueueSize\nInternalServerException.()")


@pytest.mark.parametrize(
    ("do", "code", "message"),
    [
        ("raise", "UNAVAILABLE", "Prediction failed"),
        ("memory", "INTERNAL", "Out of resources"),
        ("own 404", "NOT_FOUND", "I am short and stout"),
        ("own 418", "FAILED_PRECONDITION", "I am short and stout"),
        ("own 422", "FAILED_PRECONDITION", "I am short and stout"),
        ("own 429", "RESOURCE_EXHAUSTED", "I am short and stout"),
        ("own 501", "UNIMPLEMENTED", "I am short and stout"),
        ("own 599", "INTERNAL", "I am short and stout"),
        ("body 200", "INTERNAL", "Worker died."),
    ],
)
async def test_tells_what_a_handler_has_said_by_the_code_of_its_status(
    serve: Serve, make_mar: MakeMar, connect: Connect, do: str, code: str, message: str
) -> None:
    """The text ends in the class of the error; an answer that is too large is one."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), max_response_size=100)
    for method in ("Predictions", "StreamPredictions"):
        found = await connect(served).refusal(method, ask(do=do))
        assert found == (code, f"{message}\n{_FAILED}")


async def test_bounds_an_answer_of_many_parts(
    serve: Serve, make_mar: MakeMar, connect: Connect
) -> None:
    """A handler without end is stopped where its answer would be too large."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), max_response_size=100)
    code, details = await connect(served).refusal("Predictions", ask(do="endless"))

    assert (code, details) == ("INTERNAL", f"Worker died.\n{_FAILED}")
    assert await asyncio.to_thread(handlers.cancelled.wait, 30)


async def test_drops_a_status_that_a_handler_has_set(client: Client) -> None:
    """What it gives is an answer like any other."""
    assert (await client.call("Predictions", ask(do="status 418"))).prediction == b"teapot"


async def test_ends_a_stream_by_what_broke_it(client: Client) -> None:
    """After the parts that there were."""
    call = client.call("StreamPredictions", ask(do="break 2"))
    parts = [(await call.read()).prediction for _ in range(2)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()

    assert parts == [b"part 0;", b"part 1;"]
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == f"Prediction failed\n{_FAILED}"


@pytest.mark.parametrize("method", ["Predictions", "StreamPredictions", "StreamPredictions2"])
async def test_cancels_what_a_client_leaves(client: Client, method: str) -> None:
    """Down to the engine, also in the middle of a stream."""
    request = ask(do="endless", sequence="s")
    call = client.call(method, iter([request]) if method == "StreamPredictions2" else request)
    assert await asyncio.to_thread(handlers.admitted.wait, 30)
    if method != "Predictions":
        await call.read()
    call.cancel()

    assert await asyncio.to_thread(handlers.cancelled.wait, 30)


async def test_refuses_what_is_no_message_or_too_large(
    serve: Serve, make_mar: MakeMar, connect: Connect
) -> None:
    """And answers the next one."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), max_request_size=1000)
    client = connect(served)
    path = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
    async with grpc.aio.insecure_channel(served.frontend.grpc_addresses["inference"]) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(path)(b"\xff\xff garbage")
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    code, _ = await client.refusal("Predictions", ask(data=b"x" * 2000))

    assert code == "RESOURCE_EXHAUSTED"
    assert (await client.call("Predictions", ask(do="body 3"))).prediction == b"xxx"


async def test_answers_requests_of_sequences_in_one_stream(client: Client) -> None:
    """Each answer says whose it is, and the handler is told of the sequence by header."""
    requests = [ask(sequence="one", data="1"), ask(sequence="two", data="2")]
    parts = [part async for part in client.call("StreamPredictions2", iter(requests))]
    seen = {part.sequence_id: json.loads(part.prediction) for part in parts}

    assert {own: each["inputs"]["data"] for own, each in seen.items()} == {
        "one": ["bytes", "1"],
        "two": ["bytes", "2"],
    }
    assert seen["one"]["params"] == {
        "headers": {"ts_request_sequence_id": "one"},
        "is_explain": None,
        "sequence_id": "one",
        "url_path": None,
    }


async def test_answers_a_request_before_the_next_is_sent(client: Client) -> None:
    """Both go on side by side."""
    go_on = asyncio.Event()

    async def requests() -> AsyncIterator[messages.PredictionsRequest]:
        yield ask(sequence="s", do="body 1")
        await go_on.wait()
        yield ask(sequence="s", do="body 2")

    call = client.call("StreamPredictions2", requests())
    first = await call.read()
    go_on.set()
    second = await call.read()

    assert (first.prediction, second.prediction) == (b"x", b"xx")
    assert await call.read() is grpc.aio.EOF


async def test_tells_in_place_what_fails_in_a_stream_of_sequences(client: Client) -> None:
    """As a status with the error's class; the stream goes on and ends well."""
    requests = [
        ask(data="1"),
        ask("zz", sequence="s"),
        ask(sequence="t", do="own 404"),
        ask(sequence="u", do="body 1"),
    ]
    found = {}
    async for part in client.call("StreamPredictions2", iter(requests)):
        info = rpc_status_pb2.ErrorInfo()
        if part.HasField("status"):
            assert part.status.details[0].Unpack(info)
        found[part.sequence_id] = (part.status.code, part.status.message, info.reason)

    assert found == {
        "": (13, "Parameter sequenceId is required.", "BadRequestException.()"),
        "s": (13, "Model not found: zz", f"{_MODEL}.ModelNotFoundException"),
        "t": (5, "I am short and stout", _FAILED),
        "u": (0, "", ""),
    }


async def test_asks_for_the_token_of_its_port(
    serve: Serve, make_mar: MakeMar, connect: Connect
) -> None:
    """In every method; the other port's token does not do."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), disable_token_authorization=False)
    keys = json.loads(served.frontend.settings.key_file.read_text())
    requests: dict[str, object] = {
        "Ping": empty_pb2.Empty(),
        "Predictions": ask(do="body 1"),
        "StreamPredictions": ask(do="body 1"),
    }
    for method, request in requests.items():
        for token in (None, "wrong", keys["management"]["key"]):
            assert await connect(served, token=token).refusal(method, request) == (
                "PERMISSION_DENIED",
                (
                    "Token Authorization failed. Token either incorrect, expired, or not provided "
                    "correctly"
                ),
            )
    allowed = connect(served, token=keys["inference"]["key"])
    stream = allowed.call("StreamPredictions2", iter([ask(sequence="s", do="body 1")]))

    assert (await allowed.call("Predictions", ask(do="body 1"))).prediction == b"x"
    assert await predictions(stream) == [b"x"]


async def test_keeps_to_the_switches_for_tokens(
    serve: Serve, make_mar: MakeMar, connect: Connect
) -> None:
    """Ping may be open, and a missing token UNAUTHENTICATED."""
    make_mar("noop.mar")
    served = await serve(
        load_models=("noop.mar",),
        disable_token_authorization=False,
        ping_without_token=True,
        auth_401=True,
    )
    client = connect(served)
    assert "Healthy" in (await client.call("Ping", empty_pb2.Empty())).health
    code, _ = await client.refusal("Predictions", ask())
    assert code == "UNAUTHENTICATED"


async def test_tells_those_who_watch(client: Client, served: Served) -> None:
    """Of the call, by its code, and of the prediction, by HTTP's status."""
    called, predicted = [], []
    served.frontend.on_called.append(called.append)
    served.frontend.on_predicted.append(predicted.extend)
    await client.call("Predictions", ask())
    await client.refusal("StreamPredictions", ask(do="raise"))

    name = "org.pytorch.serve.grpc.inference.InferenceAPIsService"
    assert [(each.path, each.code) for each in called] == [
        (f"{name}/Predictions", 0),
        (f"{name}/StreamPredictions", 14),
    ]
    assert called[0].client.startswith("127.0.0.1:")
    assert [(each.model, each.version, each.status) for each in predicted] == [
        ("noop", None, 200),
        ("noop", None, 503),
    ]


async def test_has_no_path_of_a_language_model(
    serve: Serve, make_llm: MakeLlm, connect: Connect
) -> None:
    """No message has one, so that TorchServe's handler knows no answer, and says so."""
    make_llm()
    client = connect(await serve(load_models=("llm.mar",)))
    for method in ("Predictions", "StreamPredictions"):
        code, details = await client.refusal(method, ask("llm", data=b"{}"))

        assert (code, "Unknown API endpoint: None" in details) == ("NOT_FOUND", True)
