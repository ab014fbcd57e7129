"""`torchloom torchserve` over gRPC, with real archives in workers: streams, sequences, deaths."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from benchmarks.server import free_port
from torchloom_api.grpc.proto import torchserve_inference_pb2 as inference
from torchloom_api.grpc.proto import torchserve_management_pb2 as management


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.archives import make_mar


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]

TALKER = """\
import os
import time

from ts.handler_utils.utils import send_intermediate_predict_response


def handle(data, context):
    if data is None:
        return None
    do = data[0]["do"].decode()
    if do == "pid":
        return [str(os.getpid())]
    if do == "fail":
        raise ValueError("no luck")
    for part in ("one ", "two "):
        send_intermediate_predict_response([part], context.request_ids, "more", 200, context)
    if do == "wait":
        time.sleep(60)
    return ["three"]
"""

SUMS = """\
class Sums:
    def initialize(self, context):
        self.sums = {}

    def handle(self, data, context):
        answers = []
        for index, row in enumerate(data):
            own = context.get_sequence_id(index)
            number = row.get("number") or row.get("body")
            self.sums[own] = self.sums.get(own, 0) + int(number)
            context.set_response_header(index, context.header_key_sequence_id, own)
            answers.append(str(self.sums[own]))
        return answers
"""

CONFIG = """\
minWorkers: 2
maxWorkers: 2
batchSize: 4
sequenceBatching: true
maxNumSequence: 2
maxSequenceJobQueueSize: 8
"""

Request = inference.PredictionsRequest
Response = inference.PredictionResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is up: calls of its two ports, by the name of a method."""

    folder: Path
    ask: Callable[..., object]
    manage: Callable[..., object]

    def predict(self, **fields: str) -> str:
        """Ask the model `talker`."""
        answer = cast("Response", self.ask("Predictions", _request("talker", **fields)))
        return answer.prediction.decode()


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, configure: Configure, start: Start
) -> Iterator[Running]:
    """Start a server with tokens and two archives, configured by properties and environment."""
    folder = tmp_path_factory.mktemp("torchserve")
    (folder / "models").mkdir()
    make_mar(folder / "models", "talker", "talker.py", {"talker.py": TALKER})
    make_mar(folder / "models", "sums", "sums.py", {"sums.py": SUMS, "model-config.yaml": CONFIG})
    lines = ("enable_envvars_config=true", "default_workers_per_model=1")
    ports, other = configure(folder, *lines), free_port()
    words = "--ncs --model-store models --models talker.mar sums.mar --enable-model-api"
    with start(folder, words, {"TS_GRPC_MANAGEMENT_PORT": str(other)}):
        keys = json.loads((folder / "key_file.json").read_text())
        with (
            grpc.insecure_channel(f"127.0.0.1:{ports[3]}") as one,
            grpc.insecure_channel(f"127.0.0.1:{other}") as two,
        ):
            yield Running(
                folder=folder,
                ask=_caller(one, inference, keys["inference"]["key"]),
                manage=_caller(two, management, keys["management"]["key"]),
            )


def _caller(channel: grpc.Channel, module: object, key: str) -> Callable[..., object]:
    (service,) = module.DESCRIPTOR.services_by_name.values()  # type: ignore[attr-defined]  # generated

    def call(name: str, request: object) -> object:
        method = service.methods_by_name[name]
        kinds = {(False, False): "unary_unary", (False, True): "unary_stream"}
        kind = kinds.get((method.client_streaming, method.server_streaming), "stream_stream")
        make = getattr(channel, kind)(
            f"/{service.full_name}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return make(request, metadata=(("authorization", f"Bearer {key}"),), timeout=120)

    return call


def _request(model: str, sequence: str | None = None, **fields: str) -> Request:
    given = {name: text.encode() for name, text in fields.items()}
    return Request(model_name=model, input=given, sequence_id=sequence)


class Conversation:
    """A stream of sequences that is kept open: what is said, and what is answered."""

    def __init__(self, running: Running) -> None:
        self._said: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        stream = running.ask("StreamPredictions2", iter(self._said.get, None))
        self._answers = cast("Iterator[Response]", stream)

    def say(self, sequence: str, number: int) -> Response:
        """Add a number to a sequence, and wait for the answer."""
        self._said.put(_request("sums", sequence, number=str(number)))
        return next(self._answers)

    def end(self) -> list[Response]:
        """Say no more; give what is still answered."""
        self._said.put(None)
        return list(self._answers)


def test_streams_what_a_handler_sends_in_between(running: Running) -> None:
    """Each part is an answer of its own."""
    stream = cast(
        "Iterator[Response]", running.ask("StreamPredictions", _request("talker", do="x"))
    )

    assert [part.prediction for part in stream] == [b"one ", b"two ", b"three"]


def test_tells_what_a_handler_raises(running: Running) -> None:
    """Not what it was, but the class that TorchServe tells."""
    with pytest.raises(grpc.RpcError) as caught:
        running.predict(do="fail")

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == (
        "Prediction failed\norg.pytorch.serve.http.InternalServerException"
    )


def test_ends_a_stream_whose_worker_is_killed(running: Running) -> None:
    """After the parts that there were; the next request is answered by another worker."""
    pid = int(running.predict(do="pid"))
    stream = cast(
        "Iterator[Response]", running.ask("StreamPredictions", _request("talker", do="wait"))
    )
    parts = [next(stream).prediction, next(stream).prediction]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)

    assert parts == [b"one ", b"two "]
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == (
        "Worker died.\norg.pytorch.serve.http.InternalServerException"
    )
    assert int(running.predict(do="pid")) != pid


def test_keeps_the_state_of_sequences(running: Running) -> None:
    """Of several in one stream, and from one stream to the next; too many are told in place."""
    first = Conversation(running)
    said = [first.say(own, number) for own, number in (("a", 1), ("b", 10), ("a", 2), ("b", 20))]
    refused = first.say("c", 1)
    assert first.end() == []
    second = Conversation(running)
    assert second.say("a", 4).prediction == b"7"

    assert [(each.sequence_id, each.prediction) for each in said] == [
        ("a", b"1"),
        ("b", b"10"),
        ("a", b"3"),
        ("b", b"30"),
    ]
    assert refused.status.code == grpc.StatusCode.INTERNAL.value[0]
    assert refused.status.message.startswith('Model "sums" has no worker to serve inference')
    second.end()


def test_manages_models(running: Running) -> None:
    """Registers an archive and removes it, on the port that the environment names."""
    make_mar(running.folder / "models", "later", "later.py", {"later.py": TALKER})
    request = management.RegisterModelRequest(url="later.mar", initial_workers=1, synchronous=True)
    registered = cast("management.ManagementResponse", running.manage("RegisterModel", request))
    removing = management.UnregisterModelRequest(model_name="later")
    removed = cast("management.ManagementResponse", running.manage("UnregisterModel", removing))

    assert registered.msg == 'Model "later" Version: 1.0 registered with 1 initial workers'
    assert removed.msg == 'Model "later" unregistered'
