"""A server whose models run on CUDA: the multi-image example, one queue over two devices."""

from __future__ import annotations

import base64
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image


ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "multi_image" / "multi_image.yaml"
RUNS = "/api/workflows/multi_image/runs"
INPUTS = {"idea": "red circles", "num_images": 3}


@pytest.fixture(scope="module")
def url(serve: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Serve the example with its pictures on the GPU, and its words on the GPU and the CPU."""
    text = EXAMPLE.read_text("utf-8").replace("../tiny_models", str(ROOT / "examples/tiny_models"))
    text = text.replace("kind: llm\n", "kind: llm\n    devices: [cuda, cpu]\n    compile: eager\n")
    text = text.replace("kind: diffusion\n", "kind: diffusion\n    devices: [cuda]\n")
    file = tmp_path_factory.mktemp("workflow") / "multi_image.yaml"
    file.write_text(text, "utf-8")
    return serve(f"torchloom serve {file} --store {file.parent}/store")


def run(url: str) -> dict[str, list[str]]:
    """Draw three pictures; give prompts and pictures."""
    answer = httpx.post(f"{url}{RUNS}", json=INPUTS, timeout=120)
    assert answer.status_code == 200, answer.text
    outputs: dict[str, list[str]] = answer.json()["outputs"]
    return outputs


def test_draws_on_the_gpu(url: str) -> None:
    """Pictures come as they do from a CPU."""
    outputs = run(url)

    assert len(outputs["images"]) == 3
    for image in outputs["images"]:
        with Image.open(io.BytesIO(base64.b64decode(image.rpartition(",")[2]))) as picture:
            assert picture.size == (64, 64)


def test_says_where_models_run_and_how_their_code_stands(url: str) -> None:
    """Both devices of the language model are one pool; each says how its code stands."""
    models = {model["name"]: model for model in httpx.get(f"{url}/api/models").json()["items"]}

    devices = {replica["device"] for replica in models["llama"]["replicas"]}
    states = {part["state"] for part in models["stable_diffusion"]["replicas"][0]["code"]}
    assert devices == {"cuda:0", "cpu"}
    assert "compiled" in states
    assert "eager" not in states


def test_goes_on_when_a_worker_on_the_gpu_is_killed(url: str) -> None:
    """Its memory is the device's again, a new worker starts, and the next run is drawn."""
    models = {model["name"]: model for model in httpx.get(f"{url}/api/models").json()["items"]}
    (replica,) = models["stable_diffusion"]["replicas"]
    os.kill(replica["pid"], signal.SIGKILL)

    assert len(run(url)["images"]) == 3
