"""`torchloom serve` with an archive of TorchServe: a `.mar` becomes a model like any other."""

from __future__ import annotations

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
    return folder


@pytest.fixture(scope="module")
def url(serve: Callable[[str], str], folder: Path) -> str:
    """Serve it, with a store of its own."""
    return serve(f"torchloom serve {folder / 'echo.yaml'} --store {folder / 'store'}")


def predict(url: str, **request: object) -> httpx.Response:
    """Ask the model."""
    return httpx.post(f"{url}/api/models/echo/predict", timeout=60, **request)  # type: ignore[arg-type]  # as httpx has it


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
    (model,) = httpx.get(f"{url}/api/models").json()["items"]

    assert (model["name"], model["kind"], model["state"]) == ("echo", "handler", "ready")
