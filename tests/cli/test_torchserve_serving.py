"""`torchloom torchserve` with real archives in real workers, from its start to its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.archives import SHOUT, make_mar


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]

TALKER = """\
import json

from ts.handler_utils.utils import send_intermediate_predict_response


def handle(data, context):
    if data is None:
        return None
    said = []
    for index, row in enumerate(data):
        body = row.get("body")
        if body == "stream":
            ids = context.request_ids
            send_intermediate_predict_response(["one "], ids, "more to come", 200, context)
            said.append("two")
        elif body == "teapot":
            context.set_response_status(418, "I am a teapot", index)
            context.set_response_header(index, "X-Pot", "tea")
            context.set_response_content_type(index, "text/plain")
            said.append("short and stout")
        elif body == "explain":
            said.append({"explain": context.get_request_header(index, "explain")})
        else:
            header = context.get_request_header(index, "X-MiXed")
            path = context.get_request_header(index, "url_path")
            said.append({"type": type(body).__name__, "header": header, "url_path": path})
    return said
"""

LOUD = """\
import logging
import sys
import time


def handle(data, context):
    if data is None:
        return None
    body = bytes(data[0]["body"]).decode()
    if body == "flood":
        line = "x" * 1000 + "\\n"
        for _ in range(100_000):
            sys.stderr.write(line)
        time.sleep(1)
        sys.stderr.write("printed after the flood\\n")
        return ["drowned"]
    print("printed", body)
    logging.getLogger(__name__).info("logged %s", body)
    sys.stderr.write(f"complained {body}\\n")
    context.metrics.add_counter("Rows", 1)
    if body == "fail":
        raise ValueError("no luck")
    return ["said"]
"""

#: Ends its process as a file beside the model store says at the load, or as a request does.
DOOMED = """\
import os
import signal
from pathlib import Path


def handle(data, context):
    if data is None:
        file = Path({deed!r})
        end(file.read_text() if file.exists() else "")
        return None
    end(bytes(data[0]["body"]).decode())
    return ["alive"] * len(data)


def end(how):
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is up, and its folder."""

    process: subprocess.Popen[str]
    folder: Path
    inference: httpx.Client
    management: httpx.Client


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, configure: Configure, start: Start
) -> Iterator[Running]:
    """Start a server with two archives, as scripts do: wait for its one line, then ask."""
    folder = tmp_path_factory.mktemp("torchserve")
    (folder / "models").mkdir()
    make_mar(folder / "models", "echo", "class_echo.py", SHOUT)
    make_mar(folder / "models", "talker", "talker.py", {"talker.py": TALKER})
    ports = configure(folder, "default_workers_per_model=1")
    words = "--model-store models --models echo=echo.mar --enable-model-api"
    with start(folder, words) as process:
        keys = json.loads((folder / "key_file.json").read_text())
        with (
            _client(ports[0], keys["inference"]) as one,
            _client(ports[1], keys["management"]) as two,
        ):
            yield Running(process=process, folder=folder, inference=one, management=two)


def _client(port: int, key: dict[str, str]) -> httpx.Client:
    return httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {key['key']}"},
        timeout=120,
    )


def test_serves_a_class_of_an_archive(running: Running) -> None:
    """JSON is written with two blanks, without a line's end and without a type."""
    answer = running.inference.post("/predictions/echo", content=b"hello")
    value = {"prefix": "ECHO", "body": "hello", "batch": 1, "cwd": True}

    assert answer.content == json.dumps(value, indent=2).encode()
    assert "content-type" not in answer.headers


def test_serves_a_function_that_is_registered_later(running: Running) -> None:
    """It sees what TorchServe's handlers see."""
    registered = running.management.post("/models?url=talker.mar&initial_workers=1")
    headers = {"X-MiXed": "yes", "content-type": "text/plain"}
    path = "/predictions/talker/1.0/v1/chat"
    answer = running.inference.post(path, content=b"hi", headers=headers)

    assert registered.json()["status"] == (
        'Model "talker" Version: 1.0 registered with 1 initial workers'
    )
    assert answer.json() == {"type": "str", "header": "yes", "url_path": "v1/chat"}
    raw = running.inference.post("/predictions/talker", content=b"hi")
    assert raw.json() == {"type": "bytearray", "header": None, "url_path": ""}


def test_answers_as_a_handler_says(running: Running) -> None:
    """Status, phrase, headers and type are its own."""
    headers = {"content-type": "text/plain"}
    answer = running.inference.post("/predictions/talker", content=b"teapot", headers=headers)

    assert (answer.status_code, answer.reason_phrase) == (418, "I am a teapot")
    assert (answer.headers["x-pot"], answer.headers["content-type"]) == ("tea", "text/plain")
    assert answer.text == "short and stout"


def test_streams_what_a_handler_sends_in_between(running: Running) -> None:
    """Both parts come, in chunks."""
    headers = {"content-type": "text/plain"}
    answer = running.inference.post("/predictions/talker", content=b"stream", headers=headers)

    assert (answer.text, answer.headers["ts_stream_next"]) == ("one two", "true")


def test_tells_handlers_what_is_asked_for(running: Running) -> None:
    """An explanation, where it is one."""
    headers = {"content-type": "text/plain"}
    answer = running.inference.post("/explanations/talker", content=b"explain", headers=headers)

    assert answer.json() == {"explain": "True"}


def test_tells_what_a_handler_raises(running: Running) -> None:
    """Not what it was."""
    answer = running.inference.post("/predictions/echo", content=b"fail, please")

    assert (answer.status_code, answer.json()["message"]) == (503, "Prediction failed")


def test_shows_its_workers(running: Running) -> None:
    """By their processes; one that is killed comes again, and answers."""
    (model,) = running.management.get("/models/echo").json()
    (worker,) = model["workers"]
    assert psutil.Process(worker["pid"]).is_running()
    assert worker["memoryUsage"] > 0
    os.kill(worker["pid"], signal.SIGKILL)
    assert running.inference.post("/predictions/echo", content=b"again").status_code == 200
    (model,) = running.management.get("/models/echo").json()
    (after,) = model["workers"]
    assert after["pid"] != worker["pid"]
    assert (after["id"], after["status"]) == (worker["id"], "READY")


def test_leaves_nothing_of_an_archive_that_does_not_load(running: Running) -> None:
    """The reason is in the log alone."""
    make_mar(running.folder / "models", "bad", "bad.py", {"bad.py": "raise OSError('no luck')\n"})
    for _ in range(2):
        answer = running.management.post("/models?url=bad.mar&initial_workers=1")
        assert answer.json()["message"] == "Failed to start workers for model bad version: 1.0"
    assert running.management.get("/models/bad").status_code == 404


def test_says_507_of_workers_that_are_killed_as_for_want_of_memory(running: Running) -> None:
    """As they load, and again and again with one request; what ends by itself is 500 there."""
    deed = running.folder / "load"
    code = DOOMED.format(deed=str(deed))
    make_mar(running.folder / "models", "doomed", "doomed.py", {"doomed.py": code})
    statuses = []
    for how in ("kill", "exit"):
        deed.write_text(how)
        answer = running.management.post("/models?url=doomed.mar&initial_workers=1")
        assert answer.json()["message"] == "Failed to start workers for model doomed version: 1.0"
        statuses.append(answer.status_code)
    deed.unlink()
    registered = running.management.post("/models?url=doomed.mar&initial_workers=1")
    assert registered.status_code == 200, registered.text
    for how in ("kill", "exit"):
        answer = running.inference.post("/predictions/doomed", content=how.encode())
        assert answer.json()["message"] == "Worker died."
        statuses.append(answer.status_code)

    assert statuses == [507, 500, 507, 500]
    assert running.management.delete("/models/doomed").status_code == 200


def test_writes_what_handlers_print_and_measure(running: Running) -> None:
    """To the files and in the forms of TorchServe, while nobody reads its standard output."""
    make_mar(running.folder / "models", "loud", "loud.py", {"loud.py": LOUD})
    registered = running.management.post("/models?url=loud.mar&initial_workers=1")
    assert registered.status_code == 200, registered.text
    (model,) = running.management.get("/models/loud").json()
    worker = f"W-{model['workers'][0]['id']}-loud_1.0"
    for body in ("hello", "fail"):
        running.inference.post("/predictions/loud", content=body.encode())
    logs = running.folder / "logs"
    printed = _wait_for(logs / "model_log.log", "ValueError: no luck")
    measured = _wait_for(logs / "model_metrics.log", "PredictionTime")

    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}"
    for level, stream, text in (
        ("INFO ", "stdout", "printed hello"),
        ("INFO ", "stdout", "logged hello"),
        ("WARN ", "stderr", "complained hello"),
        ("INFO ", "stdout", "Traceback .*"),
        ("INFO ", "stdout", r' +File "[^"]+/loud\.py", line 22, in handle'),
    ):
        pattern = rf"{stamp} \[{level}\] {worker}-{stream} MODEL_LOG - {text}"
        assert re.search(rf"^{pattern}$", printed, re.MULTILINE), (pattern, printed)
    assert re.search(
        rf"^{stamp} - PredictionTime\.ms:\d+\.\d+\|#ModelName:loud,Level:Model\|#hostname:[^,]+,"
        r"requestID:[0-9a-f-]{36},timestamp:\d+$",
        measured,
        re.MULTILINE,
    )
    assert "Rows" not in measured
    assert "WorkerLoadTime.Milliseconds:" in _wait_for(
        logs / "ts_metrics.log", f"#WorkerName:{worker},Level:Host|"
    )
    assert "MODEL_LOG - printed hello" in (logs / "ts_log.log").read_text()


def test_tells_how_long_every_worker_took_to_load(running: Running) -> None:
    """Those that are gone at once, too: removed, or dead of what they were asked."""
    code = DOOMED.format(deed=str(running.folder / "nothing"))
    make_mar(running.folder / "models", "brief", "brief.py", {"brief.py": code})
    for body in (None, "exit"):
        assert running.management.post("/models?url=brief.mar&initial_workers=1").is_success
        if body is not None:
            running.inference.post("/predictions/brief", content=body.encode())
            assert running.inference.post("/predictions/brief", content=b"hi").is_success
        assert running.management.delete("/models/brief").is_success
    make_mar(running.folder / "models", "last", "last.py", {"last.py": code})
    assert running.management.post("/models?url=last.mar&initial_workers=1").is_success
    log = _wait_for(running.folder / "logs" / "ts_metrics.log", "-last_1.0,")
    running.management.delete("/models/last")

    told = re.findall(r"WorkerLoadTime\.Milliseconds:\d+\.0\|#WorkerName:(W-\d+-brief_1\.0),", log)
    assert len(told) == 5  # one, and one that was started again three times
    assert len(set(told)) == 2


def test_lives_with_a_handler_that_prints_without_end(running: Running) -> None:
    """It answers, and the log is bounded."""
    before = (running.folder / "logs" / "model_log.log").stat().st_size
    answer = running.inference.post("/predictions/loud", content=b"flood")
    assert answer.status_code == 200
    text = _wait_for(running.folder / "logs" / "model_log.log", "printed after the flood")

    assert len(text) - before < 64 << 20
    assert running.inference.get("/ping").json() == {"status": "Healthy"}


def _wait_for(path: Path, text: str) -> str:
    """Give what is in a file once that has a text."""
    for _ in range(3000):
        if path.exists() and text in (found := path.read_text("utf-8", "replace")):
            return found
        time.sleep(0.01)
    raise AssertionError(f"{text!r} is not in {path.read_text()}")


def test_ends_when_it_is_told_to(running: Running) -> None:
    """It leaves a snapshot of its models, and no keys."""
    running.process.terminate()
    assert running.process.wait(60) == 0
    names = sorted(path.name for path in (running.folder / "logs" / "config").iterdir())

    assert names[0].endswith("-startup.cfg")
    assert names[-1].endswith("-shutdown.cfg")
    assert "talker" in (running.folder / "logs" / "config" / names[-1]).read_text("latin-1")
    assert not (running.folder / "key_file.json").exists()


#: Does not load as long as a file is there.
MOODY = """\
from pathlib import Path


def handle(data, context):
    if data is None and Path({file!r}).exists():
        raise OSError("the weights are not there yet")
    return None if data is None else ["here"] * len(data)
"""


def test_tries_models_of_the_start_again(
    tmp_path: Path, configure: Configure, start: Start
) -> None:
    """Until they load, or somebody registers them; `/ping` is unhealthy until none is absent."""
    store, file = tmp_path / "models", tmp_path / "broken"
    store.mkdir()
    file.touch()
    code = MOODY.format(file=str(file))
    make_mar(store, "moody", "moody.py", {"moody.py": code})
    ports = configure(tmp_path, "default_workers_per_model=1")
    words = "--model-store models --models moody.mar absent.mar --disable-token-auth --ncs"
    with (
        start(tmp_path, f"{words} --enable-model-api"),
        httpx.Client(base_url=f"http://127.0.0.1:{ports[0]}", timeout=60) as inference,
        httpx.Client(base_url=f"http://127.0.0.1:{ports[1]}", timeout=60) as management,
    ):
        assert inference.post("/predictions/moody").status_code in {404, 503}
        file.unlink()
        for _ in range(6000):
            if inference.post("/predictions/moody", content=b"hi").text == "here":
                break
            time.sleep(0.01)
        assert inference.post("/predictions/moody", content=b"hi").text == "here"
        assert inference.get("/ping").status_code == 500
        make_mar(store, "absent", "absent.py", {"absent.py": code})
        registered = management.post("/models?url=absent.mar&initial_workers=1")
        assert registered.status_code == 200, registered.text
        assert inference.get("/ping").status_code == 200
