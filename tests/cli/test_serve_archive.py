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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the archive and its model file."""
    folder = tmp_path_factory.mktemp("archives")
    make_mar(folder, "echo", "class_echo.py", SHOUT)
    (folder / "echo.yaml").write_text(MODEL)
    make_mar(folder, "unruly", "unruly.py")
    (folder / "unruly.yaml").write_text(MODEL.replace("echo", "unruly"))
    return folder


@pytest.fixture(scope="module")
def url(serve: Callable[[str], str], folder: Path) -> str:
    """Serve it, with a store of its own."""
    files = f"{folder / 'echo.yaml'} {folder / 'unruly.yaml'}"
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

    assert unpacked == {"echo", "unruly"}


def test_streams_what_comes_in_between(url: str) -> None:
    """Each intermediate answer is an event before the end."""
    events = wish(url, "stream", Accept="text/event-stream").text.split("\n\n")
    kinds = [each.partition("event: ")[2].partition("\n")[0] for each in events if each]

    assert kinds == ["predict.chunk"] * 3 + ["predict.finished"]
    assert '"value":"piece 0"' in events[0]


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
