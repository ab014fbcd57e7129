"""`torchloom torchserve` with sequences in several workers: real archives, real deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from torchloom_api.grpc.proto import torchserve_inference_pb2 as messages


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.archives import make_mar


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]

SUMS = """\
import os
import time


class Sums:
    def initialize(self, context):
        self.sums = {}

    def handle(self, data, context):
        answers = []
        for index, row in enumerate(data):
            while os.path.exists(str(context.get_request_header(index, "wait-while"))):
                time.sleep(0.01)
            own = context.get_sequence_id(index)
            if context.get_request_header(index, context.header_key_sequence_start) == "true":
                self.sums.pop(own, None)
            self.sums[own] = self.sums.get(own, 0) + int(row.get("number") or row.get("body"))
            context.set_response_header(index, context.header_key_sequence_id, own)
            if self.sums[own] >= 100:
                context.set_response_header(index, context.header_key_sequence_end, own)
                del self.sums[own]
            answers.append({"sum": self.sums.get(own), "pid": os.getpid()})
        return answers
"""

CONFIG = """\
minWorkers: 2
maxWorkers: 4
batchSize: 4
sequenceBatching: true
maxNumSequence: 4
"""

_DIED = {"code": 500, "type": "InternalServerException", "message": "Worker died."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is up. Its sequences have headers of other names."""

    inference: httpx.Client
    management: httpx.Client
    grpc_port: int

    def ask(self, sequence: str, number: int, **headers: str) -> httpx.Response:
        """Add a number to a sequence."""
        own = {"X-Sequence": sequence} if sequence else {}
        return self.inference.post(
            "/predictions/sums", content=str(number), headers={**own, **headers}
        )

    def add(self, sequence: str, number: int) -> tuple[int, int]:
        """Add a number to a sequence; give the sum, and the process that has answered."""
        answer = self.ask(sequence, number).raise_for_status().json()
        return answer["sum"], answer["pid"]

    def wait_ready(self) -> None:
        """Wait until all workers are there, also one that a test has killed."""
        states = {""}
        while states != {"READY"}:
            (model,) = self.management.get("/models/sums").json()
            states = {worker["status"] for worker in model["workers"]}

    def wait_in_hand(self, count: int) -> None:
        """Wait until the model has so many requests in hand, worked on or waiting."""
        found = -1
        while found != count:
            model = self.inference.get("/api/models/sums").raise_for_status().json()
            found = model["queue_depth"] + sum(each["in_flight"] for each in model["replicas"])

    def end(self, *sequences: str) -> None:
        """End sequences, each by a request that says so."""
        for each in sequences:
            self.ask(each, 0, **{"x-end": "true"})


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, configure: Configure, start: Start
) -> Iterator[Running]:
    """Start a server whose file and environment give sequences' headers other names."""
    folder = tmp_path_factory.mktemp("torchserve")
    (folder / "models").mkdir()
    make_mar(folder / "models", "sums", "sums.py", {"sums.py": SUMS, "model-config.yaml": CONFIG})
    names = ("ts_header_key_sequence_id=x-sequence", "ts_header_key_sequence_start=x-start")
    ports = configure(folder, *names)
    words = "--ncs --model-store models --models sums.mar --disable-token-auth"
    with (
        start(folder, words, {"TS_REQUEST_SEQUENCE_END": "x-end"}),
        httpx.Client(base_url=f"http://127.0.0.1:{ports[0]}", timeout=120) as inference,
        httpx.Client(base_url=f"http://127.0.0.1:{ports[1]}", timeout=120) as management,
    ):
        yield Running(inference=inference, management=management, grpc_port=ports[3])


def test_keeps_a_sequence_in_one_worker(running: Running) -> None:
    """And different ones in different workers, as many as there are."""
    firsts = {own: running.add(own, 1)[1] for own in "abcd"}
    seconds = {own: running.add(own, 1) for own in "dcba"}
    running.end(*"abcd")

    assert seconds == {own: (2, pid) for own, pid in firsts.items()}
    assert sorted(list(firsts.values()).count(pid) for pid in set(firsts.values())) == [2, 2]


def test_goes_by_the_names_that_headers_have(running: Running) -> None:
    """Those of TorchServe are headers as any other here, so that each request is a sequence."""
    usual = {"ts_request_sequence_id": "u", "ts_request_sequence_start": "true"}
    first, second = [running.ask("", 1, **usual) for _ in range(2)]
    names = [answer.headers["x-sequence"] for answer in (first, second)]
    running.end(*names)

    assert [first.json()["sum"], second.json()["sum"]] == [1, 1]
    assert all(name.startswith("ts-seq-") for name in names)


def test_goes_on_over_grpc(running: Running) -> None:
    """A sequence is the same, whichever way its requests come."""
    _, pid = running.add("g", 5)
    request = messages.PredictionsRequest(
        model_name="sums", input={"number": b"2"}, sequence_id="g"
    )
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
        ask = channel.unary_unary(
            "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=messages.PredictionResponse.FromString,
        )
        answer = json.loads(ask(request, timeout=120).prediction)
    running.end("g")

    assert answer == {"sum": 7, "pid": pid}


def test_refuses_more_sequences_than_there_may_be(running: Running) -> None:
    """Of all workers together; one that its handler ends makes room."""
    for own in "abcd":
        running.add(own, 1)
    refused = running.ask("e", 1)
    running.ask("b", 99).raise_for_status()
    accepted = running.ask("e", 1)
    running.end(*"acde")

    assert refused.status_code == 503
    assert refused.json()["message"].startswith('Model "sums" has no worker to serve inference')
    assert accepted.json()["sum"] == 1


def test_refuses_more_requests_of_a_sequence_than_may_wait(
    running: Running, tmp_path: Path
) -> None:
    """One behind that in hand, as nothing else is said; other sequences are not held up."""
    gate = tmp_path / "gate"
    gate.touch()
    with ThreadPoolExecutor(2) as clients:
        held = clients.submit(running.ask, "k", 1, **{"wait-while": str(gate)})
        running.wait_in_hand(1)
        waiting = clients.submit(running.ask, "k", 2)
        running.wait_in_hand(2)
        refused = running.ask("k", 4)
        other = running.add("l", 8)[0]
        gate.unlink()
    running.end("k", "l")

    assert refused.status_code == 503
    assert refused.json()["message"].endswith("exceeds maxSequenceJobQueueSize")
    assert [held.result().json()["sum"], waiting.result().json()["sum"], other] == [1, 3, 8]


def test_tells_of_a_sequence_whose_worker_has_died(running: Running) -> None:
    """Once, also where nothing was in hand; it begins anew then. Others do not notice."""
    _, one = running.add("a", 1)
    _, other = running.add("b", 10)
    assert one != other
    os.kill(one, signal.SIGKILL)
    told = running.ask("a", 1)
    anew, pid = running.add("a", 1)
    rest = running.add("b", 10)
    running.end(*"ab")

    assert told.json() == _DIED
    assert (anew, rest) == (1, (20, other))
    assert pid != one


def test_tells_of_a_sequence_whose_worker_was_taken_away(running: Running) -> None:
    """In the words that TorchServe has for one that is over. Those of the others go on."""
    running.wait_ready()
    _, one = running.add("a", 1)
    _, other = running.add("b", 10)
    both = running.add("c", 10)[1]
    stays, goes = ("a", "b") if both == one else ("b", "a")
    running.management.put("/models/sums?min_worker=1&synchronous=true").raise_for_status()
    refused = running.ask(goes, 1)
    anew = running.add(goes, 1)
    rest = running.add(stays, 10)
    running.management.put("/models/sums?min_worker=2&synchronous=true").raise_for_status()
    running.end(*"abc")

    assert other != one
    assert (refused.status_code, refused.json()["type"]) == (503, "ServiceUnavailableException")
    assert "please check if it is closed, or expired" in refused.json()["message"]
    assert anew == (1, both)
    assert rest[1] == both
