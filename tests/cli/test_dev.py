"""`torchloom dev` over HTTP: what is saved is served, and what is broken is told."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from benchmarks.server import free_port
from torchloom_models.archive.workbench import MAX_FILES


if TYPE_CHECKING:
    StartDev = Callable[..., AbstractContextManager[Any]]

pytestmark = pytest.mark.slow

HANDLER = """\
import json
import os
import time

import helper


class Handler:
    def initialize(self, context):
        folder = context.system_properties["model_dir"]
        with open(os.path.join(folder, "names.json")) as file:
            self.names = json.load(file)

    def handle(self, data, context):
        said = bytes(data[0]["body"]).decode()
        if said == "fail":
            raise ValueError("no luck")
        if said == "odd":
            return {"not": "a list"}
        if said == "die":
            os._exit(3)
        if said.startswith("wait "):
            place = said.removeprefix("wait ")
            open(place + ".begun", "w").close()
            while not os.path.exists(place):
                time.sleep(0.01)
        explain = context.get_request_header(0, "explain")
        return [{"code": 1, "helper": helper.NUMBER, "names": self.names, "explain": explain}]
"""

FILES = {"handler.py": HANDLER, "helper.py": "NUMBER = 1\n", "names.json": '["one"]'}


def _write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files, but for those that are so already: to write is to change."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that is being worked on."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def _dev(folder: Path, start_dev: StartDev) -> Iterator[Any]:
    with start_dev(_write(folder, FILES), "handler.py") as dev:
        yield dev


@pytest.fixture
def dev(_dev: Any, folder: Path) -> Any:
    """Give a server, with the files as they are above."""
    _write(folder, FILES)
    return _dev


def test_serves_a_file_on_the_routes_of_torchserve(dev: Any) -> None:
    """Predictions, explanations, health and descriptions, without a token."""
    value = {"code": 1, "helper": 1, "names": ["one"], "explain": "False"}

    assert dev.ask("hi").content == json.dumps(value, indent=2).encode()
    assert dev.ask("hi", "/explanations/handler").json()["explain"] == "True"
    assert dev.client.get("/ping").json() == {"status": "Healthy"}
    (model,) = dev.client.get("/models/handler").json()
    assert [worker["status"] for worker in model["workers"]] == ["READY"]
    assert dev.ask("hi", "/predictions/other").status_code == 404


def test_serves_what_was_saved_to_the_next_request(dev: Any, folder: Path) -> None:
    """At once, also where two states of a file have the same size and the same second."""
    for number in range(2, 8):
        _write(folder, {"handler.py": HANDLER.replace('"code": 1', f'"code": {number}')})
        _write(folder, {"helper.py": f"NUMBER = {number}\n"})
        answer = dev.ask().json()
        assert (answer["code"], answer["helper"]) == (number, number)


def test_serves_what_was_saved_to_all_who_ask_at_once(dev: Any, folder: Path) -> None:
    """It is loaded once, and nobody meets what was before."""
    _write(folder, {"helper.py": "NUMBER = 77\n"})
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(dev.ask, ["hi"] * 16))
    (model,) = dev.client.get("/models/handler").json()
    (worker,) = model["workers"]

    assert {answer.json()["helper"] for answer in answers} == {77}
    assert dev.ask().json()["helper"] == 77
    assert dev.client.get("/models/handler").json()[0]["workers"][0]["pid"] == worker["pid"]


def test_loads_anew_without_being_asked(dev: Any, folder: Path) -> None:
    """Of a file beside the handler, too."""
    _write(folder, {"names.json": '["two", "three"]'})

    assert "names.json changed" in dev.read("names.json changed: loading …\nLoaded in")
    assert dev.ask().json()["names"] == ["two", "three"]


def test_tells_where_a_file_has_no_syntax_until_it_has(dev: Any, folder: Path) -> None:
    """By 503 with file and line, and a trace in the terminal; the next good save mends it."""
    _write(folder, {"handler.py": "import json\n\ndef handle(data, context)\n    return data\n"})
    answer = dev.ask()

    assert answer.status_code == 503
    assert answer.json()["type"] == "ServiceUnavailableException"
    assert answer.json()["message"].startswith("handler.py:3: ")
    assert "SyntaxError" in answer.json()["message"]
    assert dev.client.get("/ping").status_code == 500
    assert f'File "{folder.resolve()}/handler.py", line 3\n' in dev.read("SyntaxError")
    _write(folder, {"handler.py": HANDLER})
    assert dev.ask().json()["code"] == 1
    assert dev.client.get("/ping").json() == {"status": "Healthy"}


def test_lives_through_a_save_that_moves_the_handler_away(dev: Any, folder: Path) -> None:
    """As editors do: it says what is missing until the file is back."""
    (folder / "handler.py").rename(folder / "handler.py~")
    answer = dev.ask()
    (folder / "handler.py~").rename(folder / "handler.py")

    assert answer.status_code == 503
    assert "handler.py" in answer.json()["message"]
    assert dev.ask().json()["code"] == 1


def test_lives_through_too_many_files(dev: Any, folder: Path) -> None:
    """As by an archive that is unpacked in the wrong place: it says so until they are gone."""
    many = folder / "many"
    many.mkdir()
    for number in range(MAX_FILES):
        (many / f"{number}.txt").touch()
    answer = dev.ask()
    shutil.rmtree(many)

    assert answer.status_code == 503
    assert f"more than {MAX_FILES} files" in answer.json()["message"]
    assert dev.ask().json()["code"] == 1


def test_loads_the_last_of_two_saves_within_a_load(dev: Any, folder: Path, tmp_path: Path) -> None:
    """Whatever the load is at: what is met is what lies there."""
    place = tmp_path / "loading"
    begin = "def initialize(self, context):\n"
    slow = f"        open({str(place)!r}, 'w').close()\n        time.sleep(0.5)\n"
    _write(folder, {"handler.py": HANDLER.replace(begin, begin + slow)})
    _wait_for(place)
    for number in (21, 22):
        _write(folder, {"helper.py": f"NUMBER = {number}\n"})

    assert dev.ask().json()["helper"] == 22


def test_tells_what_initialize_raises(dev: Any, folder: Path) -> None:
    """Its line, though it is in another file's call."""
    _write(folder, {"names.json": "no JSON"})
    answer = dev.ask()

    assert answer.status_code == 503
    assert answer.json()["message"].startswith("handler.py:12 in initialize: ")
    assert "JSONDecodeError" in answer.json()["message"]


def test_breaks_a_load_off_that_hangs(dev: Any, folder: Path, tmp_path: Path) -> None:
    """A save is what is loaded next, and the worker that hangs is ended."""
    place = tmp_path / "loading"
    begin = "def initialize(self, context):\n"
    hang = f"        open({str(place)!r}, 'w').close()\n        time.sleep(1000)\n"
    _write(folder, {"handler.py": HANDLER.replace(begin, begin + hang)})
    _wait_for(place)
    _write(folder, {"handler.py": HANDLER.replace('"code": 1', '"code": 99')})

    assert dev.ask().json()["code"] == 99
    (model,) = dev.client.get("/models/handler").json()
    (worker,) = model["workers"]
    children = psutil.Process(dev.process.pid).children()
    assert [child.pid for child in children] == [worker["pid"]]


def test_tells_where_a_request_failed(dev: Any, folder: Path) -> None:
    """By the last of the handler's lines; the trace begins at its first, and not with ours."""
    answer = dev.ask("fail")

    assert (answer.status_code, answer.json()["message"]) == (
        503,
        "Prediction failed: handler.py:17 in handle: ValueError: no luck",
    )
    told = dev.read("ValueError: no luck")
    trace = told[told.rindex("Traceback (most recent call last):") :]
    assert trace.splitlines()[1] == f'  File "{folder.resolve()}/handler.py", line 17, in handle'
    assert "torchloom" not in trace.partition("ValueError: no luck")[0]
    assert "POST /predictions/handler 503" in dev.read("POST /predictions/handler 503")


def test_tells_what_is_no_answer(dev: Any) -> None:
    """A batch that is no list has no line; what it is, is said."""
    message = "Invalid model predict output: the handler gave dict, not a list"

    assert dev.ask("odd").json()["message"] == message
    assert message in dev.read(message)


def test_lives_on_when_a_handler_ends_its_process(dev: Any) -> None:
    """The request is given up, the next one is answered."""
    assert dev.ask("die").status_code == 500
    assert dev.ask().status_code == 200


def test_ends_a_request_on_the_code_that_it_began_with(
    dev: Any, folder: Path, tmp_path: Path
) -> None:
    """The new code is loaded when it is over; who asks meanwhile waits for that."""
    place = tmp_path / "go"
    with ThreadPoolExecutor(2) as pool:
        old = pool.submit(dev.ask, f"wait {place}")
        _wait_for(Path(f"{place}.begun"))
        _write(folder, {"handler.py": HANDLER.replace('"code": 1', '"code": 9')})
        new = pool.submit(dev.ask)
        assert "A request still runs" in dev.read("A request still runs")
        assert not old.done()
        assert not new.done()
        place.touch()

        assert (old.result().json()["code"], new.result().json()["code"]) == (1, 9)


def test_gives_up_a_request_whose_client_has_left(dev: Any, folder: Path, tmp_path: Path) -> None:
    """A handler that never ends keeps nobody from mending it."""
    place = tmp_path / "never"
    body = f"wait {place}".encode()
    with socket.create_connection((dev.client.base_url.host, dev.client.base_url.port)) as client:
        head = f"POST /predictions/handler HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
        client.sendall(head.encode() + b"\r\n\r\n" + body)
        _wait_for(Path(f"{place}.begun"))
    _write(folder, {"handler.py": HANDLER.replace('"code": 1', '"code": 5')})

    assert dev.ask().json()["code"] == 5


def _wait_for(path: Path) -> None:
    for _ in range(6000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} is not there")


def test_ends_though_a_request_runs(tmp_path: Path, start_dev: StartDev) -> None:
    """Ctrl-C gives it up, and leaves no process and no folder behind."""
    place = tmp_path / "never"
    with (
        ThreadPoolExecutor(1) as pool,
        start_dev(_write(tmp_path / "work", FILES), "handler.py") as dev,
    ):
        url = f"{dev.client.base_url}/predictions/handler"
        answer = pool.submit(httpx.post, url, content=f"wait {place}", timeout=120)
        _wait_for(Path(f"{place}.begun"))
        (worker,) = psutil.Process(dev.process.pid).children()
        laid_out = Path(worker.cwd())
        assert (laid_out / "handler.py").resolve() == (tmp_path / "work" / "handler.py").resolve()

    assert answer.result().status_code == 503
    assert not worker.is_running()
    assert not laid_out.exists()


def test_serves_an_unpacked_archive(tmp_path: Path, start_dev: StartDev) -> None:
    """By its manifest; what is named besides goes first."""
    folder = _write(
        tmp_path / "work",
        {
            "MAR-INF/MANIFEST.json": json.dumps(
                {
                    "runtime": "python",
                    "model": {"modelName": "shop", "modelVersion": "2.5", "handler": "till:sell"},
                }
            ),
            "till.py": SELLING,
            "model-config.yaml": "minWorkers: 4\nmaxWorkers: 4\nbatchSize: 3\n",
        },
    )
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "weights.pt").write_bytes(b"12345")
    words = ["--serialized-file", "../elsewhere/weights.pt", "--envelope", "json"]
    with start_dev(folder, ".", *words) as dev:
        answer = dev.client.post("/predictions/shop/2.5", json={"instances": ["tea"]})
        (model,) = dev.client.get("/models/shop").json()
        assert answer.json() == {"predictions": [["tea", 5, 3]]}
        assert (len(model["workers"]), model["modelVersion"]) == (1, "2.5")
        (tmp_path / "elsewhere" / "weights.pt").write_bytes(b"123456")
        answer = dev.client.post("/predictions/shop", json={"instances": ["tea"]})
        assert answer.json() == {"predictions": [["tea", 6, 3]]}


SELLING = """\
import os


def sell(data, context):
    if data is None:
        return None
    folder = context.system_properties["model_dir"]
    weights = os.path.join(folder, context.manifest["model"]["serializedFile"])
    size = context.model_yaml_config["batchSize"]
    return [[row, os.path.getsize(weights), size] for row in data]
"""


def test_serves_a_folder_with_a_configuration_alone(tmp_path: Path, start_dev: StartDev) -> None:
    """The one file that can be meant is the handler; the folder gives the name."""
    selling = SELLING.replace("def sell", "def handle").replace(
        'context.manifest["model"]["serializedFile"]', '"till.py"'
    )
    files = {"till.py": selling, "model-config.yaml": "batchSize: 2\n"}
    folder = _write(tmp_path / "corner shop", files)
    with start_dev(tmp_path, str(folder)) as dev:
        answer = dev.client.post("/predictions/corner_shop", json=["tea"])
        assert answer.json()[1:] == [len(selling), 2]


NET = """\
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        if len(x[0]) > 2:
            raise ValueError("two numbers, please")
        return 2 * x
"""


def test_serves_a_built_in_handler(tmp_path: Path, start_dev: StartDev) -> None:
    """What is named is the author's: a trace begins there."""
    _write(tmp_path / "nets", {"net.py": NET})
    words = ["base_handler", "--model-file", "nets/net.py", "--name", "twice"]
    with start_dev(tmp_path, *words) as dev:
        good = dev.client.post("/predictions/twice", json=[1, 2])
        bad = dev.client.post("/predictions/twice", json=[1, 2, 3])
        assert good.json() == [2, 4]
        assert bad.json()["message"] == (
            "Prediction failed: net.py:7 in forward: ValueError: two numbers, please"
        )
        _write(tmp_path / "nets", {"net.py": NET.replace("2 * x", "3 * x")})
        assert dev.client.post("/predictions/twice", json=[1, 2]).json() == [3, 6]


def test_has_a_port_for_descriptions_where_one_is_named(
    tmp_path: Path, start_dev: StartDev
) -> None:
    """As TorchServe has: predictions are not there."""
    port = free_port()
    words = ["handler.py", f"--management-port={port}"]
    with start_dev(_write(tmp_path / "work", FILES), *words) as dev:
        url = f"http://127.0.0.1:{port}"
        assert dev.client.get(f"{url}/models/handler").status_code == 200
        assert dev.client.post(f"{url}/predictions/handler").status_code == 404
        assert dev.client.get("/models/handler").status_code == 404


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope.py"], "File does not exist: nope.py"),
        (["packed.mar"], "packed.mar is packed"),
        (["empty"], "empty has neither MAR-INF/MANIFEST.json nor a Python file"),
        (["several"], "several has no MAR-INF/MANIFEST.json, and several Python files: a.py, b.py"),
        (["handler.py", "--name", "a/b"], "Model name contains special characters"),
        (["handler.py", "--extra-files", "nope"], "File does not exist: nope"),
        (["handler.py", "--debugpy", "0"], "pip install debugpy"),
    ],
)
def test_says_what_keeps_it_from_starting(tmp_path: Path, words: list[str], said: str) -> None:
    """With the exit code 1, and no trace."""
    (tmp_path / "packed.mar").touch()
    (tmp_path / "empty").mkdir()
    _write(tmp_path / "several", {"a.py": "", "b.py": ""})
    _write(tmp_path / "hidden", {"debugpy.py": "raise ImportError('not here')\n"})
    _write(tmp_path, FILES)
    done = _run(tmp_path, *words, "--port=0")

    assert done.returncode == 1
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_says_that_a_port_is_taken(tmp_path: Path) -> None:
    """Before anything is loaded."""
    _write(tmp_path, FILES)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = _run(tmp_path, "handler.py", f"--port={taken.getsockname()[1]}")

    assert done.returncode == 1
    assert "Cannot listen on 127.0.0.1:" in done.stderr


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder / "hidden"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "torchloom_api.cli", "dev", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
