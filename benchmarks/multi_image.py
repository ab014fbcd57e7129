"""Time to the first picture of the multi-image example: `python -m benchmarks.multi_image`.

Four pictures of an idea, through the server: with the live edge from prompts to pictures; with the
same workflow but for an expression that needs the whole list of prompts; and as a chain of calls,
the LLM to its end and then one picture after another, as a program without a graph makes them.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from httpx_sse import connect_sse

from benchmarks.report import Report, paired_ratio
from benchmarks.server import Server


EXAMPLE = Path(__file__).parents[1] / "examples" / "multi_image" / "multi_image.yaml"

IDEA = "a night full of stars"
NUM_IMAGES = 4

REPEATS = 5

_LIVE, _WHOLE = '"{{ prompts.items }}"\n    limit', '"{{ prompts.items[:16] }}"\n    limit'

_TIMEOUT_S = 300


def run_workflow(url: str, name: str) -> tuple[float, float]:
    """Give the seconds to the first picture and to the last."""
    began = time.perf_counter()
    arrivals: list[float] = []
    inputs = {"idea": IDEA, "num_images": NUM_IMAGES}
    with (
        httpx.Client(base_url=url, timeout=_TIMEOUT_S) as http,
        connect_sse(http, "POST", f"/api/workflows/{name}/runs", json=inputs) as stream,
    ):
        for event in stream.iter_sse():
            if event.event == "run.failed":
                raise RuntimeError(event.data)
            if event.event == "node.item" and json.loads(event.data)["node"] == "pictures":
                arrivals.append(time.perf_counter() - began)
    return arrivals[0], arrivals[-1]


def call_in_turn(url: str) -> tuple[float, float]:
    """Call the models one after another, without a workflow."""
    began = time.perf_counter()
    arrivals: list[float] = []
    content = f"Write {NUM_IMAGES} picture prompts, one a line, about: {IDEA}"
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S) as http:

        def predict(model: str, **order: object) -> dict[str, object]:
            answer = http.post(f"/api/models/{model}/predict", json=order)
            answer.raise_for_status()
            outputs: dict[str, object] = answer.json()["outputs"]
            return outputs

        messages = [{"role": "user", "content": content}]
        params = {"max_tokens": 320, "temperature": 0}
        text = str(predict("llama", inputs={"messages": messages}, params=params)["text"])
        for number, line in enumerate(text.splitlines()[:NUM_IMAGES]):
            predict("stable_diffusion", inputs={"prompt": line, "seed": number})
            arrivals.append(time.perf_counter() - began)
    return arrivals[0], arrivals[-1]


def with_whole_list(folder: Path) -> Path:
    """Write the example's workflow with a list that is only there when all prompts are."""
    text = EXAMPLE.read_text("utf-8")
    models = EXAMPLE.parents[1] / "tiny_models"
    file = folder / "whole.yaml"
    file.write_text(
        text.replace(_LIVE, _WHOLE)
        .replace("name: multi_image", "name: whole")
        .replace("../tiny_models", str(models)),
        "utf-8",
    )
    return file


def main() -> None:
    """Measure all three, in turn."""
    report = Report(
        name="multi_image",
        title=f"{NUM_IMAGES} pictures of an idea, through the server",
        columns=("", "first picture, s", "last picture, s", "first over live", "last over live"),
    )
    figures: dict[str, list[tuple[float, float]]] = {"live": [], "whole": [], "chain": []}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        whole = with_whole_list(folder)
        with Server(EXAMPLE, whole, store=folder / "store") as server:
            sides: dict[str, Callable[[], tuple[float, float]]] = {
                "live": lambda: run_workflow(server.url, "multi_image"),
                "whole": lambda: run_workflow(server.url, "whole"),
                "chain": lambda: call_in_turn(server.url),
            }
            for _ in range(REPEATS + 1):
                for name, measure in sides.items():
                    figures[name].append(measure())
    _report(report, {name: pairs[1:] for name, pairs in figures.items()})  # the first was warm-up


def _report(report: Report, figures: dict[str, list[tuple[float, float]]]) -> None:
    titles = {
        "live": "each picture starts with its prompt",
        "whole": "pictures start when all prompts are there",
        "chain": "one call after another",
    }
    live = list(zip(*figures["live"], strict=True))
    for name, title in titles.items():
        firsts, lasts = zip(*figures[name], strict=True)
        report.add(
            title,
            statistics.median(firsts),
            statistics.median(lasts),
            paired_ratio(firsts, live[0]),
            paired_ratio(lasts, live[1]),
        )
    report.finish()


if __name__ == "__main__":
    main()
