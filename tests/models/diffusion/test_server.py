"""A tiny diffusion model behind a real server: every way that pictures go in and come out."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tiny_pipeline import half_mask, open_tiny, photo, png_of

from torchloom.engine import Result, Work


pytestmark = pytest.mark.slow

WORKFLOW = """
name: draw
models:
  tiny:
    kind: diffusion
    source: {source}
    devices: [cpu]
    threads: 1
    params: {{num_steps: 4, seed: 7, preview_every: 1}}
inputs:
  prompt: {{type: string}}
  image: {{type: string, contentEncoding: base64}}
nodes:
  draft:
    model: tiny
    inputs: {{prompt: "{{{{ inputs.prompt }}}}", image: "{{{{ inputs.image }}}}"}}
  picture:
    model: tiny
    inputs: {{prompt: "{{{{ inputs.prompt }}}}", image: "{{{{ draft.image }}}}", strength: 0.75}}
outputs: {{image: "{{{{ picture.image }}}}"}}
stream: picture
"""

PREDICT = "/api/models/tiny/predict"

RUN = "/api/workflows/draw/runs"

RUN_INPUTS = {"prompt": "a blue square", "image": base64.b64encode(png_of(photo())).decode()}


@pytest.fixture(scope="module")
def url(stable_diffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server with the workflow; give its address."""
    folder = tmp_path_factory.mktemp("server")
    file = folder / "draw.yaml"
    file.write_text(WORKFLOW.format(source=stable_diffusion))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "torchloom_api.cli", "serve", str(file)),
                *("--port=0", f"--store={folder / 'store'}"),
            ],
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(os.environ),
            process_group=0,
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            word, _, address = line.decode().strip().partition(": ")
            if word == "Ready":
                break
        else:
            pytest.fail(f"The server ended before it was ready:\n{(folder / 'log').read_text()}")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    """Give a client of it."""
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def drawn(folder: Path, **inputs: object) -> bytes:
    """Give the PNG that an engine in this process draws with the model file's parameters."""
    engine = open_tiny(folder)
    engine.admit(Work(0, inputs, {"num_steps": 4, "seed": 7}))
    while True:
        for event in engine.step():
            if isinstance(event, Result):
                image = event.outputs["image"]
                assert isinstance(image, bytes)
                return image


def test_answers_with_a_picture(client: httpx.Client, stable_diffusion: Path) -> None:
    """`Accept: image/png` gets the bare file, and any other client base64 in JSON."""
    body = {"inputs": {"prompt": "a red circle"}}
    bare = client.post(PREDICT, json=body, headers={"accept": "image/png"})
    wrapped = client.post(PREDICT, json=body)

    wanted = drawn(stable_diffusion, prompt="a red circle")
    assert (bare.headers["content-type"], bare.content) == ("image/png", wanted)
    outputs = wrapped.json()["outputs"]
    assert base64.b64decode(outputs["image"]) == wanted
    assert outputs["seed"] == 7


def test_takes_pictures_as_data_urls_base64_and_files(
    client: httpx.Client, stable_diffusion: Path
) -> None:
    """One picture in three dresses draws one picture; so does its mask."""
    image, mask = png_of(photo()), png_of(half_mask())
    text = base64.b64encode(image).decode()
    inputs = {"prompt": "red", "mask": base64.b64encode(mask).decode()}
    answers = [
        client.post(
            PREDICT,
            json={"inputs": {**inputs, "image": value}},
            headers={"accept": "image/png"},
        )
        for value in (text, f"data:image/png;base64,{text}")
    ]
    answers.append(
        client.post(
            PREDICT,
            files={"prompt": (None, "red"), "image": ("a.png", image), "mask": ("m.png", mask)},
            headers={"accept": "image/png"},
        )
    )

    wanted = drawn(stable_diffusion, prompt="red", image=image, mask=mask)
    assert [answer.content for answer in answers] == [wanted] * 3


def test_lets_a_picture_flow_from_node_to_node(client: httpx.Client) -> None:
    """What one node draws, the next starts from; a workflow takes pictures as models do."""
    answer = client.post(RUN, json=RUN_INPUTS, headers={"accept": "image/png"})

    assert answer.status_code == 200
    assert answer.content.startswith(b"\x89PNG")


def test_streams_previews(client: httpx.Client) -> None:
    """Each preview is an event `node.chunk` with a PNG in base64, before the run's end."""
    headers = {"accept": "text/event-stream"}
    with client.stream("POST", RUN, json=RUN_INPUTS, headers=headers) as answer:
        lines = [line for line in answer.iter_lines() if line]

    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    chunks = [value for kind, value in zip(kinds, data, strict=True) if kind == "node.chunk"]
    # Three steps of four are left for an image; the last one has no preview.
    assert [chunk["node"] for chunk in chunks] == ["picture"] * 2
    assert all(base64.b64decode(chunk["image"]).startswith(b"\x89PNG") for chunk in chunks)
    assert kinds[-1] == "run.finished"
    assert data[-1]["outputs"]["image"]


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"prompt": "red", "width": 10**6, "height": 10**6}, "1000000000000 pixels"),
        ({"prompt": "red", "num_steps": 10**6}, "150 steps at most"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "red", "image": "bm8gcGljdHVyZQ=="}, "cannot be read as a picture"),
        ({"prompt": "red", "width": 0}, "width"),
    ],
)
def test_refuses_bad_requests(client: httpx.Client, inputs: dict[str, object], says: str) -> None:
    """A limit is a 422 that says which one, and the model serves on."""
    answer = client.post(PREDICT, json={"inputs": inputs})

    assert answer.status_code == 422
    assert says in answer.text
    assert client.get("/api/health/ready").status_code == 200


def test_documents_what_it_takes_and_gives(client: httpx.Client) -> None:
    """The model's own page tells inputs, params and outputs from the kind's table."""
    model = client.get("/api/models/tiny").json()

    assert "strength" in json.dumps(model)
    assert "image/png" in json.dumps(model)


def test_counts_steps(client: httpx.Client) -> None:
    """The metrics count how often the network was asked."""
    client.post(PREDICT, json={"inputs": {"prompt": "red"}})
    lines = client.get("/metrics").text.splitlines()

    steps = [line for line in lines if "steps" in line and "tiny" in line]
    assert steps
    assert np.max([float(line.rsplit(" ", 1)[1]) for line in steps]) >= 4
