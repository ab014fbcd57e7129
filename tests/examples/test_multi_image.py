"""The multi-image example in a real server, called as its README says."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse
from PIL import Image

from examples.tiny_models.scenes import parse


pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "multi_image"
RUNS = "/api/workflows/multi_image/runs"
IDEA = "a night full of stars"


@pytest.fixture(scope="module")
def url(serve: Callable[[str], str]) -> str:
    """Serve the example, by the README's command."""
    return serve("torchloom serve examples/multi_image/multi_image.yaml")


def _open(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return picture.convert("RGB")


def test_draws_each_prompt_in_their_order(url: str) -> None:
    """As many prompts as were asked for, all in the scene language, and a picture of each."""
    answer = httpx.post(f"{url}{RUNS}", json={"idea": IDEA, "num_images": 3}, timeout=120)
    assert answer.status_code == 200, answer.text
    outputs = answer.json()["outputs"]
    assert len(outputs["prompts"]) == len(outputs["images"]) == 3
    assert all(parse(prompt) for prompt in outputs["prompts"])
    pictures = [_open(base64.b64decode(image)) for image in outputs["images"]]
    assert {picture.size for picture in pictures} == {(64, 64)}


def test_starts_to_draw_while_prompts_are_written(url: str) -> None:
    """The first picture's task begins before the last prompt, and the items come one by one."""
    order: list[str] = []
    body = {"idea": IDEA, "num_images": 8}
    with (
        httpx.Client(base_url=url, timeout=120) as http,
        connect_sse(http, "POST", RUNS, json=body) as stream,
    ):
        for event in stream.iter_sse():
            if event.data:
                node = event.json().get("node", "")
                order.append(f"{event.event} {node}".strip())
    assert order.index("node.started pictures") < order.index("node.finished prompts")
    assert order.count("node.item prompts") == order.count("node.item pictures") == 8
    assert order[-1] == "run.finished"


def test_gives_the_same_pictures_for_the_same_seed(url: str) -> None:
    """Another seed gives other pictures; the same one the same, up to a shade."""

    def draw(seed: int) -> bytes:
        body = {"idea": IDEA, "num_images": 1, "seed": seed}
        answer = httpx.post(f"{url}{RUNS}", json=body, timeout=120)
        return _open(base64.b64decode(answer.json()["outputs"]["images"][0])).tobytes()

    first, again, other = draw(1), draw(1), draw(2)
    assert max(abs(a - b) for a, b in zip(first, again, strict=True)) <= 1
    assert first != other


def test_gives_a_bare_picture(url: str) -> None:
    """The model alone answers `Accept: image/png` with the file."""
    prompt = "a large red circle in the centre on a white background"
    answer = httpx.post(
        f"{url}/api/models/stable_diffusion/predict",
        json={"inputs": {"prompt": prompt, "seed": 1}},
        headers={"Accept": "image/png"},
        timeout=120,
    )
    assert answer.headers["content-type"] == "image/png"
    red, green, blue = _open(answer.content).getpixel((32, 32))
    assert red > 2 * max(green, blue)


@pytest.mark.parametrize("num_images", [0, 9, "four"])
def test_refuses_a_number_that_is_none_it_draws(url: str, num_images: object) -> None:
    """The workflow's own bounds hold, before anything is written."""
    answer = httpx.post(f"{url}{RUNS}", json={"idea": IDEA, "num_images": num_images})
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/num_images"]


def test_is_called_by_its_client_script(url: str, tmp_path: Path) -> None:
    """client.py names each file that it saved, and there is a picture in each."""
    command = [sys.executable, str(EXAMPLE / "client.py"), IDEA, "--url", url]
    command += ["--pictures", "2", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for number in (1, 2):
        file = tmp_path / f"picture-{number}.png"
        assert str(file) in done.stdout
        assert _open(file.read_bytes()).size == (64, 64)
