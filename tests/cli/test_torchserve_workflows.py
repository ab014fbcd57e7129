"""Workflow archives in `torchloom torchserve`, with real handlers and functions in real workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.archives import make_mar, write_mar


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]

#: A model that does as its row says.
DOER = """\
import os
import time


def handle(data, context):
    if data is None:
        return None
    return [do(row) for row in data]


def do(row):
    body = row.get("body")
    word = bytes(body).decode() if isinstance(body, bytearray) else body
    if word == "raise":
        raise ValueError("no luck")
    if word == "exit":
        os._exit(3)
    if word == "hang":
        time.sleep(60)
    if word == "bytes":
        return bytes([0, 255])
    return {"type": type(body).__name__, "word": word, "pid": os.getpid()}
"""

#: Functions as users of TorchServe write them: each is called once with no data, at its load.
FUNCTIONS = """\
import json
import os

loaded = []


def first(data, context):
    if data is None:
        loaded.append("first")
        return None
    return [row["body"] for row in data]


def join(data, context):
    if data is None:
        return None
    return [{name: json.loads(bytes(value)) for name, value in row.items()} for row in data]


def wrap(data, context):
    if data is None:
        return None
    header = context.get_request_header(0, "X-Own")
    got = json.loads(bytes(data[0]["body"]))
    return [{"got": got, "header": header, "pid": os.getpid()}]


def twice(data, context):
    return None if data is None else data * 2


def unwilling(data, context):
    raise OSError("no luck")
"""

SPECIFICATIONS = {
    "line": "models: {m: {url: doer.mar}}\ndag: {m: [wrap]}\n",
    "single": "models: {timeout-ms: 1000, m: {url: doer.mar}}\ndag: {m: []}\n",
    "diamond": (
        "models: {max-workers: 1, left: {url: doer.mar}, right: {url: doer.mar}}\n"
        "dag: {first: [left, right], left: [join], right: [join]}\n"
    ),
    "twice": "models: {m: {url: doer.mar}}\ndag: {m: [twice]}\n",
    "unwilling": "models: {m: {url: doer.mar}}\ndag: {m: [unwilling]}\n",
    "nowhere": "models: {m: {url: doer.mar}}\ndag: {m: [nowhere]}\n",
}


#: What is said of a function that the handler's file has not.
NODE_FAILED = (
    "Workflow Node nowhere__nowhere failed to register. Details: The handler 'functions:nowhere': "
    "there is no function 'nowhere' in 'functions'."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is up, and its folder."""

    process: subprocess.Popen[str]
    folder: Path
    inference: httpx.Client
    management: httpx.Client

    def register(self, name: str) -> httpx.Response:
        """Register a workflow."""
        return self.management.post(f"/workflows?url={name}.war")

    def ask(self, name: str, body: str, **headers: str) -> httpx.Response:
        """Run a workflow."""
        return self.inference.post(f"/wfpredict/{name}", content=body.encode(), headers=headers)


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, configure: Configure, start: Start
) -> Iterator[Running]:
    """Start a server without models, whose workflow store has archives."""
    folder = tmp_path_factory.mktemp("workflows")
    for name in ("models", "workflows"):
        (folder / name).mkdir()
    make_mar(folder / "models", "doer", "doer.py", {"doer.py": DOER})
    for name, specification in SPECIFICATIONS.items():
        workflow = {"workflowName": name, "specFile": "w.yaml", "handler": "functions.py"}
        manifest = json.dumps({"workflow": workflow, "archiverVersion": "0.2.15"})
        files = {"functions.py": FUNCTIONS, "w.yaml": specification}
        write_mar(
            folder / "workflows" / f"{name}.war", {"WAR-INF/MANIFEST.json": manifest, **files}
        )
    ports = configure(folder, "workflow_store=workflows")
    with start(folder, "--model-store models --ncs --disable-token-auth") as process:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        with (
            httpx.Client(base_url=urls[0], timeout=120) as inference,
            httpx.Client(base_url=urls[1], timeout=120) as management,
        ):
            yield Running(
                process=process, folder=folder, inference=inference, management=management
            )


def test_runs_one_node_after_the_other(running: Running) -> None:
    """A model, then a function, each in a process of its own; bytes go from one to the other."""
    registered = running.register("line")
    assert registered.json()["status"] == (
        "Workflow line has been registered and scaled successfully."
    )
    answer = running.ask("line", '"hi"', **{"X-Own": "yes", "Content-Type": "application/json"})

    value = answer.json()
    assert value["got"]["word"] == "hi"
    assert value["got"]["type"] == "str"
    assert value["header"] == "yes"
    assert running.process.pid not in {value["pid"], value["got"]["pid"]}
    assert value["pid"] != value["got"]["pid"]
    assert answer.content.startswith(b'{\n  "got"')


def test_joins_nodes_beside_each_other(running: Running) -> None:
    """The join finds each one's JSON by its name."""
    running.register("diamond")
    value = running.ask("diamond", "hi").json()

    assert {name: each["word"] for name, each in value.items()} == {"left": "hi", "right": "hi"}
    assert value["left"]["type"] == "bytearray"
    assert value["left"]["pid"] != value["right"]["pid"]


def test_survives_what_nodes_do(running: Running) -> None:
    """Whatever happens, the node is named, and the next request is answered."""
    running.register("single")
    for word in ("raise", "exit", "hang"):
        answer = running.ask("single", word)
        assert (answer.status_code, answer.json()["message"]) == (500, "Error executing m"), word
    answer = None
    for _ in range(100):  # until the worker that hung or ended is there again
        answer = running.ask("single", "bytes")
        if answer.status_code == 200:
            break
    assert answer is not None
    assert (answer.status_code, answer.content) == (200, b"\x00\xff")
    assert answer.headers["content-type"] == "application/json"


def test_refuses_another_number_of_answers(running: Running) -> None:
    """Of a function, too."""
    running.register("twice")

    assert running.ask("twice", "hi").json()["message"] == "Error executing twice"


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("unwilling", "Failed to start workers for model unwilling__unwilling version: 1.0"),
        ("nowhere", NODE_FAILED),
    ],
)
def test_leaves_nothing_of_one_that_does_not_load(
    running: Running, name: str, failure: str
) -> None:
    """A function that raises when it is loaded, or is not there: its models' workers end too."""
    before = _workers(running)
    answer = running.register(name)

    assert answer.json() == {
        "code": 500,
        "type": "WorkflowException",
        "message": f"Workflow {name} has failed to register. Failures: [{failure}]",
    }
    assert running.management.get(f"/models/{name}__m").status_code == 404
    assert _workers(running) == before


def test_removes_workers_with_the_workflow(running: Running) -> None:
    """And unpacked files with them."""
    running.register("line")
    before = len(_workers(running))

    assert running.management.delete("/workflows/line").status_code == 200
    assert len(_workers(running)) == before - 2


def test_ends_with_its_workers(running: Running) -> None:
    """At SIGTERM nothing is left running."""
    left = _workers(running)
    running.process.send_signal(signal.SIGTERM)

    assert running.process.wait(60) == 0
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in left if psutil.pid_exists(pid)], 30
    )
    assert alive == []


def _workers(running: Running) -> set[int]:
    """Give the processes that the server has."""
    return {each.pid for each in psutil.Process(running.process.pid).children(recursive=True)}
