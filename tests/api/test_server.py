"""A real server process over real sockets: start, streams, disconnects, signals, restarts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier

import httpx
import psutil
import pytest


pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
YAML = {"content-type": "application/yaml"}
STREAM = {"accept": "text/event-stream"}

LOUD = """
name: loud
inputs: {text: {type: string, minLength: 1}}
nodes: {up: {function: "api_fakes.functions:shout", inputs: {text: "{{ inputs.text }}"}}}
outputs: {said: "{{ up.text }}"}
"""

COUNT = """
name: count
inputs: {number: {type: integer}, pause_s: {type: number, default: 0.01}}
nodes:
  steps:
    function: api_fakes.functions:count
    inputs: {number: "{{ inputs.number }}", pause_s: "{{ inputs.pause_s }}"}
outputs: {items: "{{ steps.items }}"}
stream: steps
"""

SLOW = """
name: slow
inputs: {seconds: {type: number}}
nodes: {nap: {function: "api_fakes.functions:slow", inputs: {seconds: "{{ inputs.seconds }}"}}}
outputs: {slept: "{{ nap.slept }}"}
"""

LIVE = """
name: live
inputs: {folder: {type: string}, number: {type: integer}, refused: {type: integer, default: -1}}
nodes:
  numbers:
    function: api_fakes.functions:hand_over
    inputs: {folder: "{{ inputs.folder }}", number: "{{ inputs.number }}"}
  takers:
    foreach: "{{ numbers.items }}"
    function: api_fakes.functions:take
    inputs: {folder: "{{ inputs.folder }}", number: "{{ item }}", refused: "{{ inputs.refused }}"}
outputs: {taken: "{{ takers.taken }}"}
stream: [numbers, takers]
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server process that is ready, and where it answers."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def client(self) -> httpx.Client:
        """Give a client of it."""
        return httpx.Client(base_url=self.url, timeout=60)

    def end(self) -> int:
        """Tell it to end; give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers over one store, with the tests' functions; none is left behind."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(_started(tmp_path, arguments))


@contextmanager
def _started(folder: Path, arguments: tuple[str, ...]) -> Iterator[Server]:
    process, log = _launch(folder, arguments)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            word, _, url = line.decode().strip().partition(": ")
            if word == "Ready":
                break
        else:
            pytest.fail(f"The server ended before it was ready:\n{log.read_text()}")
        yield Server(process, url, log)
    finally:
        _kill(process)


def _launch(folder: Path, arguments: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], Path]:
    log = folder / f"{len(list(folder.glob('*.log')))}.log"
    command = [sys.executable, "-m", "torchloom_api.cli", "serve", *arguments]
    options = ["--port=0", f"--store={folder / 'store'}", "--functions=api_fakes"]
    paths = (str(HERE), os.environ.get("PYTHONPATH"))
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            process_group=0,
        )
    return process, log


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def write(folder: Path, name: str, text: str) -> str:
    """Write a file; give its path."""
    file = folder / name
    file.write_text(text)
    return str(file)


def test_serves_files_until_it_is_told_to_end(start: Start, tmp_path: Path) -> None:
    """Files on the command line serve; SIGTERM ends the server by itself with code 0."""
    server = start(write(tmp_path, "loud.yaml", LOUD))
    with server.client() as client:
        answer = client.post("/api/workflows/loud/runs", json={"text": "hello"})
        ready = client.get("/api/health/ready")

    assert answer.json()["outputs"] == {"said": "HELLO"}
    assert ready.status_code == 200
    assert server.end() == 0


def test_says_that_anybody_may_use_it(start: Start, tmp_path: Path) -> None:
    """Open to other machines without keys, it warns once; with keys, or on the loopback, never."""
    loud = write(tmp_path, "loud.yaml", LOUD)
    digest = hashlib.sha256(b"key").hexdigest()
    keys = write(tmp_path, "keys", f"keys: [{{name: a, sha256: {digest}, scopes: [metrics]}}]")
    logs = []
    for arguments in (
        ["--host=0.0.0.0", "--allow-open"],
        ["--host=0.0.0.0", "--api-keys", keys],
        [],
    ):
        server = start(loud, *arguments)
        server.end()
        logs.append(server.log.read_text())

    assert [log.count("no key is asked for") for log in logs] == [1, 0, 0]


def test_streams_as_it_goes(start: Start, tmp_path: Path) -> None:
    """The first chunk is here while the later ones are still being made."""
    server = start(write(tmp_path, "count.yaml", COUNT))
    inputs = {"number": 3, "pause_s": 0.2}
    seen: list[str] = []
    state = ""
    with (
        server.client() as client,
        client.stream("POST", "/api/workflows/count/runs", json=inputs, headers=STREAM) as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
            if len(seen) == 3 and not state:
                state = httpx.get(f"{server.url}/api/runs").json()["items"][0]["state"]

    assert seen[:3] == ["run.started", "node.started", "node.chunk"]
    assert seen[-1] == "run.finished"
    assert state == "running"


def _read_events(text: str) -> list[tuple[str, dict[str, object]]]:
    lines = text.splitlines()
    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    return list(zip(kinds, data, strict=True))


def test_starts_items_while_the_node_before_still_writes(start: Start, tmp_path: Path) -> None:
    """A generator that goes on only once its last value has been taken comes to its end.

    The order of the events says the same, with a client that streams and with one that does not.
    """
    server = start(write(tmp_path, "live.yaml", LIVE))
    with server.client() as client:
        view = client.get("/api/workflows/live").json()
        for headers in (STREAM, {}):
            folder = tmp_path / str(len(headers))
            folder.mkdir()
            inputs = {"folder": str(folder), "number": 3}
            answer = client.post("/api/workflows/live/runs", json=inputs, headers=headers)
            if headers:
                events = _read_events(answer.text)

    assert view["graph"]["nodes"][1]["live"] == "numbers"
    assert answer.json()["outputs"] == {"taken": [0, 1, 2]}
    assert answer.json()["timings"]["critical_path"] == ["numbers", "takers"]
    kinds = [(kind, data.get("node")) for kind, data in events]
    assert kinds.index(("node.item", "takers")) < kinds.index(("node.finished", "numbers"))
    items = [data for kind, data in events if kind == "node.item"]
    assert items == [
        {"node": "takers", "index": index, "outputs": {"taken": index}} for index in range(3)
    ]
    assert events[-1][1]["outputs"] == {"taken": [0, 1, 2]}


def test_names_the_item_that_failed(start: Start, tmp_path: Path) -> None:
    """The run ends with it, though the generator would have written on."""
    server = start(write(tmp_path, "live.yaml", LIVE))
    inputs = {"folder": str(tmp_path), "number": 3, "refused": 1}
    with server.client() as client:
        answer = client.post("/api/workflows/live/runs", json=inputs)

    assert answer.status_code == 500
    assert answer.json()["detail"] == "Node 'takers': Item 1: ValueError: 1 is refused."
    assert not (tmp_path / "2").exists()


def test_cancels_the_run_of_a_client_that_hangs_up(start: Start, tmp_path: Path) -> None:
    """A connection that is closed in mid-stream cancels the run, and the model takes new work."""
    server = start(write(tmp_path, "count.yaml", COUNT))
    with server.client() as client:
        with client.stream(
            "POST", "/api/workflows/count/runs", json={"number": 100_000}, headers=STREAM
        ) as answer:
            for line in answer.iter_lines():
                if line.startswith("event: node.chunk"):
                    break
        run = client.get("/api/runs").json()["items"][0]["run"]
        events = client.get(f"/api/runs/{run}/events").text
        after = client.post("/api/workflows/count/runs", json={"number": 1})

    assert "event: run.failed" in events
    assert '"title":"Cancelled"' in events
    assert after.json()["outputs"] == {"items": [{"n": 0}]}


def test_resumes_a_stream_that_broke_off(start: Start, tmp_path: Path) -> None:
    """A background run is followed by two connections; together they give each event once."""
    server = start(write(tmp_path, "count.yaml", COUNT))
    with server.client() as client:
        path = "/api/workflows/count/runs?background=true"
        place = client.post(path, json={"number": 20}).headers["location"]
        ids: list[int] = []
        with client.stream("GET", f"{place}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    ids.append(int(line.removeprefix("id: ")))
                if len(ids) == 6 and not line:
                    break
        headers = {"last-event-id": str(ids[-1])}
        rest = client.get(f"{place}/events", headers=headers).text
        ids += [int(line[4:]) for line in rest.splitlines() if line.startswith("id: ")]

    assert ids == list(range(1, len(ids) + 1))
    assert rest.rstrip().splitlines()[-2] == "event: run.finished"


def test_drains_before_it_ends(start: Start, tmp_path: Path) -> None:
    """After SIGTERM, accepted work is finished; new work gets 503; then the server ends."""
    server = start(write(tmp_path, "count.yaml", COUNT))
    inputs = {"number": 40, "pause_s": 0.05}
    seen: list[str] = []
    refused = None
    with (
        server.client() as client,
        server.client() as other,
        client.stream("POST", "/api/workflows/count/runs", json=inputs, headers=STREAM) as answer,
    ):
        other.get("/api/health/live")
        for line in answer.iter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
            if seen.count("node.chunk") == 1 and refused is None:
                server.process.send_signal(signal.SIGTERM)
                while other.get("/api/health/ready").status_code == 200:
                    pass
                refused = other.post("/api/workflows/count/runs", json={"number": 1})

    assert refused is not None
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert seen.count("node.chunk") == 40
    assert seen[-1] == "run.finished"
    assert server.process.wait(timeout=60) == 0


def test_ends_at_once_on_a_second_signal(start: Start, tmp_path: Path) -> None:
    """The second signal waits for nothing, and leaves no worker behind."""
    server = start(write(tmp_path, "slow.yaml", SLOW))
    with server.client() as client:
        client.post("/api/workflows/slow/runs?background=true", json={"seconds": 600})
        worker = client.get("/api/models").json()["items"][0]["replicas"][0]["pid"]
        server.process.send_signal(signal.SIGTERM)
        while client.get("/api/health/ready").status_code == 200:
            pass
        server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(timeout=10) == 128 + signal.SIGTERM
    _wait_for_end(worker)


def _wait_for_end(pid: int) -> None:
    """Wait until a process is gone; the kernel ends it with its parent."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([watched], [], [], 30)[0], f"worker {pid} is still there"
    finally:
        os.close(watched)


def test_gives_up_at_the_end_of_the_grace(start: Start, tmp_path: Path) -> None:
    """What is not done within the grace time is cancelled; the server ends all the same."""
    server = start(write(tmp_path, "slow.yaml", SLOW), "--grace-s=0.5")
    with server.client() as client:
        client.post("/api/workflows/slow/runs?background=true", json={"seconds": 600})

    assert server.end() == 0


def test_restores_what_was_registered(start: Start) -> None:
    """After a kill -9, everything that was registered over the network serves again."""
    server = start()
    with server.client() as client:
        for text in (LOUD, COUNT):
            assert client.post("/api/workflows", content=text, headers=YAML).status_code == 201
    _kill(server.process)
    again = start()
    with again.client() as client:
        answer = client.post("/api/workflows/loud/runs", json={"text": "back"})
        listed = client.get("/api/workflows").json()

    assert answer.json()["outputs"] == {"said": "BACK"}
    assert [item["name"] for item in listed["items"]] == ["count", "loud"]


def test_does_not_start_with_a_file_that_fails(tmp_path: Path) -> None:
    """A model that does not load ends the start, with its name and the reason."""
    file = write(
        tmp_path,
        "bad.yaml",
        "name: bad\nkind: function\nfunction: api_fakes.functions:missing\n",
    )
    process, log = _launch(tmp_path, (file,))
    try:
        code = process.wait(timeout=60)
    finally:
        _kill(process)

    assert code != 0
    assert "missing" in log.read_text()


def test_answers_while_it_loads(start: Start, tmp_path: Path) -> None:
    """Live, not ready and not started: probes are answered from the first moment."""
    server = start(write(tmp_path, "loud.yaml", LOUD))
    with server.client() as client:
        for name in ("live", "startup", "ready"):
            assert client.get(f"/api/health/{name}").status_code == 200


def test_does_not_start_where_another_listens(tmp_path: Path) -> None:
    """An address in use is told in one line, before anything is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process, log = _launch(tmp_path, (f"--metrics=127.0.0.1:{port}",))
        try:
            code = process.wait(timeout=60)
        finally:
            _kill(process)

    assert code != 0
    assert f"Cannot listen on 127.0.0.1:{port}" in log.read_text()


def test_separates_its_listeners(start: Start) -> None:
    """Management and metrics can have addresses of their own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = start(f"--metrics=127.0.0.1:{port}")
    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics")
    elsewhere = httpx.get(f"{server.url}/metrics")

    assert metrics.status_code == 200
    assert elsewhere.status_code == 404
    assert "metrics listener" in elsewhere.json()["detail"]


def test_survives_clients_that_break_the_protocol(start: Start, tmp_path: Path) -> None:
    """Garbage, half requests and clients that hang up leave the server well."""
    server = start(write(tmp_path, "loud.yaml", LOUD))
    host, _, port = server.url.removeprefix("http://").partition(":")
    head = b"POST /api/workflows/loud/runs HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
    for junk in (
        b"\x00\xff\x16\x03\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
        head,
        head + b'{"text"',
        b"POST /api/models HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ):
        with suppress(ConnectionError), socket.create_connection((host, int(port))) as line:
            line.sendall(junk)
    with server.client() as client:
        answer = client.post("/api/workflows/loud/runs", json={"text": "well"})

    assert answer.json()["outputs"] == {"said": "WELL"}
    assert "Traceback" not in server.log.read_text()


NET = """
name: net
kind: module
class: torch.nn:Linear
arguments: {in_features: 4, out_features: 2}
devices: [cpu]
inputs: {input: {shape: [4], dtype: float32}}
compile: {backend: inductor, dynamic: false}
"""


def test_tells_when_what_compiles_beside_is_compiled(
    start: Start, make_artefacts: Callable[[Path], Path], tmp_path: Path
) -> None:
    """A batch of a new size is answered eagerly while its code is made, which the API shows."""
    make_artefacts(tmp_path / "store" / "artefacts")
    server = start(write(tmp_path, "net.yaml", NET), "--functions=torch.nn")
    seen: list[tuple[str, int]] = []
    with server.client() as client:

        def look() -> tuple[str, int]:
            (part,) = client.get("/api/models/net").json()["replicas"][0]["code"]
            assert part["failures"] == []
            assert len(part["pending"]) == (part["state"] == "compiling")
            return part["state"], part["num_compiled"]

        assert look() == ("compiled", 1)  # for the two rows of the warm-up
        answer = client.post("/api/models/net/predict", json={"inputs": {"input": [1, 2, 3, 4]}})
        assert answer.status_code == 200
        deadline = time.monotonic() + 500
        while ("compiled", 2) not in seen and time.monotonic() < deadline:
            seen.append(look())
            time.sleep(0.2)  # another process compiles
        listed = subprocess.run(
            [sys.executable, "-m", "torchloom_api.cli", "models", "list", "--server", server.url],
            capture_output=True,
            check=True,
        )
    assert list(dict.fromkeys(seen)) in (
        [("compiled", 1), ("compiling", 1), ("compiled", 2)],
        [("compiling", 1), ("compiled", 2)],
    )
    assert listed.stdout.split()[-1] == b"compiled"
    assert server.end() == 0


ELASTIC = """
name: held
kind: function
function: api_fakes.functions:hold
inline: false
batching: {max_size: 1}
replicas: {min: 1, max: 3, wait_s: 0.1, idle_s: 0.5}
"""


def test_lets_the_number_of_workers_follow_the_load(start: Start, tmp_path: Path) -> None:
    """A burst brings one worker after the other; when it is over they go again, and none fails."""
    folder = tmp_path / "marks"
    folder.mkdir()
    server = start(write(tmp_path, "held.yaml", ELASTIC))

    def ask(number: int) -> httpx.Response:
        inputs = {"folder": str(folder), "number": number}
        return httpx.post(
            f"{server.url}/api/models/held/predict", json={"inputs": inputs}, timeout=60
        )

    with server.client() as client, ThreadPoolExecutor(8) as pool:

        def states() -> list[str]:
            replicas = client.get("/api/models/held").json()["replicas"]
            return [replica["state"] for replica in replicas]

        assert states() == ["ready"]
        answers = [pool.submit(ask, number) for number in range(8)]
        _wait_until(lambda: states() == ["ready"] * 3 and len(list(folder.iterdir())) == 3)
        (folder / "go").touch()
        codes = [answer.result().status_code for answer in answers]
        _wait_until(lambda: states() == ["ready"])
        metrics = client.get("/metrics").text
        none = {"replicas": {"min": 0, "max": 3}}
        scaling = client.patch("/api/models/held", json=none).json()["scaling"]
        _wait_until(lambda: client.get("/api/models/held").json()["state"] == "evicted")
        woken = ask(8)

    assert codes == [200] * 8
    for change in ("up", "down"):
        line = f'torchloom_scalings_total{{change="{change}",model="held",version="1"}} 2.0'
        assert line in metrics
    assert scaling == {"min": 0, "max": 3, "wait_s": 0.1, "idle_s": 0.5, "error": None}
    assert woken.json()["outputs"] == {"number": 8}
    assert server.end() == 0


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_refuses_a_model_one_of_whose_devices_is_not_there(start: Start) -> None:
    """The answer, and later the list, name the device and those that there are; nothing is left."""
    server = start("--functions=torch.nn")
    text = NET.replace("[cpu]", "[cpu, 'openvino:NPU.9', 'cuda:99']").replace("inductor", "auto")
    with server.client() as client:
        answer = client.post("/api/models", content=text, headers=YAML)
        view = client.get("/api/models/net").json()
    assert answer.status_code == 422
    assert re.search(
        r"no device '(cuda:99|openvino:NPU.9)' here: \w+ sees", answer.json()["detail"]
    )
    assert (view["state"], view["replicas"]) == ("failed", [])
    assert view["error"]["detail"] == answer.json()["detail"]
    assert psutil.Process(server.process.pid).children() == []
    assert server.end() == 0


WRITER = f"""
name: writer
kind: llm
source: {HERE.parents[1] / "examples/tiny_models/tiny_llama"}
compile: eager
devices: [cpu]
dtype: float32
threads: 1
max_sequences: 4
max_length: 1024
"""


def _body(number: int, *, is_streamed: bool) -> dict[str, object]:
    return {
        "model": "writer",
        "prompt": f"Item {number} of the list:",
        "max_tokens": 300,
        "ignore_eos": True,
        "temperature": 0,
        "stream": is_streamed,
    }


@dataclass
class _Told:
    """What a client has been told: the text so far, and the error at its end, if any."""

    text: str = ""
    error: str = ""
    is_done: bool = False


def _write_whole(server: Server, number: int) -> str:
    with server.client() as client:
        answer = client.post("/v1/completions", json=_body(number, is_streamed=False))
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["text"]
    return text


def _write_streamed(server: Server, number: int, begun: Barrier) -> _Told:
    """Stream an answer to its end; wait for the others once it has begun."""
    told, body = _Told(), _body(number, is_streamed=True)
    with server.client() as client, client.stream("POST", "/v1/completions", json=body) as lines:
        for line in lines.iter_lines():
            prefix, _, data = line.partition(": ")
            if data == "[DONE]":
                told.is_done = True
            elif prefix == "data":
                event = json.loads(data)
                told.error = event.get("error", {}).get("message", told.error)
                is_first = not told.text
                told.text += "".join(choice["text"] for choice in event.get("choices", ()))
                if is_first and told.text:
                    begun.wait(timeout=60)
    return told


@pytest.mark.parametrize("num_replicas", [1, 2])
def test_loses_no_more_than_the_streams_of_a_worker_that_is_killed(
    start: Start, tmp_path: Path, num_replicas: int
) -> None:
    """Streams that it had begun end with an error; all that was not begun runs again.

    Streams of the other worker do not notice.
    """
    text = f"{WRITER}replicas: {num_replicas}\n"
    server = start(write(tmp_path, "writer.yaml", text))
    num_streams = 2 * num_replicas
    begun = Barrier(num_streams + 1)
    with ThreadPoolExecutor() as pool:
        expected = list(pool.map(partial(_write_whole, server), range(num_streams + 2)))
    with ThreadPoolExecutor(num_streams + 2) as pool, server.client() as client:
        streams = [
            pool.submit(_write_streamed, server, number, begun) for number in range(num_streams)
        ]
        whole = [
            pool.submit(_write_whole, server, number)
            for number in range(num_streams, num_streams + 2)
        ]
        begun.wait(timeout=60)
        before = client.get("/api/models/writer").json()["replicas"]
        os.kill(before[0]["pid"], signal.SIGKILL)
        told = [stream.result(timeout=120) for stream in streams]
        answers = [each.result(timeout=120) for each in whole]
        after = client.get("/api/models/writer").json()["replicas"]

    failed = [each for each in told if each.error]
    assert all("after it had begun to answer" in each.error for each in failed)
    assert not any(each.is_done for each in failed)
    assert len(failed) == (2 if num_replicas == 1 else pytest.approx(2, abs=1))
    for number, each in enumerate(told):
        assert expected[number].startswith(each.text)
        assert each.error or (each.is_done and each.text == expected[number])
    assert answers == expected[num_streams:]
    assert sorted(each["restarts"] for each in after) == [0, 1][2 - num_replicas :]
    assert server.end() == 0
