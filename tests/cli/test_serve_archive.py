"""`torchloom serve` with an archive of TorchServe: a `.mar` becomes a model like any other."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.archives import SHOUT, make_mar


pytestmark = pytest.mark.slow

MODEL = """\
name: echo
kind: handler
source: echo.mar
devices: [cpu]
batching: {max_size: 4, max_wait_s: 0.05}
"""


#: Archives that say themselves how their requests come together.
CONFIGS = {
    "continuous": "batchSize: 4\ncontinuousBatching: true\n",
    "coroutine": "asyncCommunication: true\n",
}

WORKFLOW = """\
name: shout
inputs: {word: {type: string}}
nodes:
  answer:
    model: echo
    inputs: {body: "{{ inputs.word }}"}
  text:
    template: "{{ answer.value.prefix }} says {{ answer.value.body }}"
outputs: {text: "{{ text.text }}"}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the archive and its model file."""
    folder = tmp_path_factory.mktemp("archives")
    make_mar(folder, "echo", "class_echo.py", SHOUT)
    (folder / "echo.yaml").write_text(f"{MODEL}replicas: 2\n")
    (folder / "shout.yaml").write_text(WORKFLOW)
    for name in ("unruly", "measuring"):
        make_mar(folder, name, f"{name}.py")
        (folder / f"{name}.yaml").write_text(MODEL.replace("echo", name))
    for name, config in CONFIGS.items():
        make_mar(folder, name, f"{name}.py", {"model-config.yaml": config})
        text = f"name: {name}\nkind: handler\nsource: {name}.mar\ndevices: [cpu]\n"
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def url(serve: Callable[[str], str], folder: Path) -> str:
    """Serve it, with a store of its own."""
    files = " ".join(str(file) for file in folder.glob("*.yaml"))
    return serve(f"torchloom serve {files} --store {folder / 'store'}")


def predict(url: str, model: str = "echo", **request: object) -> httpx.Response:
    """Ask a model."""
    return httpx.post(f"{url}/api/models/{model}/predict", timeout=60, **request)  # type: ignore[arg-type]  # as httpx has it


def wish(url: str, what: str, **headers: str) -> httpx.Response:
    """Ask the unruly handler for something."""
    return predict(url, "unruly", json={"inputs": {"body": what}}, headers=headers)


def test_answers_with_what_the_handler_gives(url: str) -> None:
    """The item is there as bytes, as TorchServe writes it, and as a value."""
    response = predict(url, json={"inputs": {"body": "hello"}})
    outputs = response.json()["outputs"]
    value = {"prefix": "ECHO", "body": "hello", "batch": 1, "cwd": True}

    assert response.status_code == 200
    assert outputs["value"] == value
    assert base64.b64decode(outputs["body"]) == json.dumps(value, indent=2).encode()
    assert (outputs["status"], outputs["content_type"]) == (200, None)


def test_gives_a_form_to_the_handler_as_it_came(url: str) -> None:
    """Fields of a form are bytes, whatever is in them."""
    response = predict(url, files={"data": ("a.bin", b"caf\xc3\xa9")})

    assert response.json()["outputs"]["value"]["body"] == "caf\u00e9"


def test_fails_a_row_that_the_handler_raises_for(url: str) -> None:
    """The status is TorchServe's, and the reason is told as a fault."""
    response = predict(url, json={"inputs": {"body": "fail, please"}})
    problem = response.json()

    assert response.status_code == 503
    assert problem["detail"] == "Prediction failed"
    assert problem["errors"] == [{"message": "ValueError: this row is asked to fail"}]


def test_shows_as_a_model_like_any_other(url: str) -> None:
    """It is listed with its kind and its replica."""
    model = httpx.get(f"{url}/api/models/echo").json()

    assert (model["name"], model["kind"], model["state"]) == ("echo", "handler", "ready")


def test_unpacks_each_archive_once(url: str, folder: Path) -> None:
    """What is unpacked lies in the store."""
    assert url
    unpacked = {each.name.partition("-")[0] for each in (folder / "store" / "archives").iterdir()}

    assert unpacked == {"echo", "measuring", "unruly", *CONFIGS}


def test_streams_what_comes_in_between(url: str) -> None:
    """Each intermediate answer is an event before the end."""
    events = wish(url, "stream", Accept="text/event-stream").text.split("\n\n")
    kinds = [each.partition("event: ")[2].partition("\n")[0] for each in events if each]

    assert kinds == ["predict.chunk"] * 3 + ["predict.finished"]
    assert '"value":"piece 0"' in events[0]


def test_shows_what_handlers_measure(url: str) -> None:
    """A handler's own metrics are among those of the server."""
    response = predict(url, "measuring", json={"inputs": {"body": 1}})
    text = httpx.get(f"{url}/metrics").text
    line = next(
        line for line in text.splitlines() if line.startswith("torchloom_handler_Rows_total")
    )

    assert response.status_code == 200, response.text
    assert line.endswith(" 1.0")
    assert all(each in line for each in ('Color="red"', 'model="measuring"', 'version="1"'))


def test_streams_from_call_to_call(url: str) -> None:
    """A row that stays gives a chunk with each call, and its last answer is the end."""
    request = {"inputs": {"body": "3"}}
    headers = {"Accept": "text/event-stream"}
    events = predict(url, "continuous", json=request, headers=headers).text

    assert [f'"value":[{left},1]' in events for left in (3, 2, 1, 0)] == [True] * 4
    assert events.count("event: predict.chunk") == 3


async def test_lets_coroutines_wait_for_each_other(url: str) -> None:
    """Each request needs the other one to come before it can answer."""
    async with httpx.AsyncClient(timeout=60) as client:
        address = f"{url}/api/models/coroutine/predict"
        bodies = [{"inputs": {"body": each}} for each in "ab"]
        answers = await asyncio.gather(*(client.post(address, json=each) for each in bodies))

    assert [each.json()["outputs"]["value"] for each in answers] == ["a", "b"]


async def test_fails_one_row_of_a_batch_alone(url: str) -> None:
    """Rows that came together are tried one by one when their call fails."""
    async with httpx.AsyncClient(timeout=60) as client:
        address = f"{url}/api/models/unruly/predict"
        bodies = [{"inputs": {"body": each}} for each in ("a", "fail", "b", "exit")]
        answers = await asyncio.gather(*(client.post(address, json=each) for each in bodies))

    assert [each.status_code for each in answers] == [200, 503, 200, 503]


def test_lives_on_when_a_handler_ends_its_process(url: str) -> None:
    """The request fails for good, and the next one is answered by another process."""
    before = wish(url, "").json()["outputs"]["value"]["pid"]
    died = wish(url, "die")
    after = wish(url, "").json()["outputs"]["value"]["pid"]

    assert (died.status_code, died.json()["type"]) == (503, "urn:torchloom:worker-died")
    assert before != after


def test_bears_what_a_handler_prints(url: str) -> None:
    """The answer comes, and what was printed is no part of what the server prints."""
    assert wish(url, "print").status_code == 200


def test_gives_up_a_call_that_hangs(url: str) -> None:
    """The deadline answers for it."""
    assert wish(url, "hang", **{"X-Request-Timeout": "0.5"}).status_code == 504


def test_removes_what_was_unpacked_with_the_model(url: str, folder: Path) -> None:
    """An archive that is not served any more leaves no files behind."""

    def unpacked() -> list[Path]:
        places = (folder / "store" / "archives").glob("measuring-*")
        return [each for each in places if each.is_dir()]

    assert len(unpacked()) == 1
    assert httpx.delete(f"{url}/api/models/measuring", timeout=60).status_code == 204
    assert unpacked() == []


def test_serves_as_a_node_of_a_workflow(url: str) -> None:
    """Its value is what other nodes read."""
    answer = httpx.post(f"{url}/api/workflows/shout/runs", json={"word": "hey"}, timeout=60)

    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"] == {"text": "ECHO says hey"}
