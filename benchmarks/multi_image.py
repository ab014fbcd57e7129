"""Time to the first picture of the multi-image example: `python -m benchmarks.multi_image`.

Four pictures of an idea, and eight, through the server: with the live edge from prompts to
pictures; with the same workflow but for an expression that needs the whole list of prompts; and as
a chain of calls, the LLM to its end and then one picture after another, as a program without a
graph makes them. The first picture of the chain is the whole list and one picture. Once with the
example's tiny Llama, which writes all prompts in less time than a picture takes, and once with the
same Llama at the cost of one of 100 M parameters, which takes some times as long as a picture.
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

from benchmarks.folders import widen_llama
from benchmarks.report import Report, paired_ratio
from benchmarks.server import Server


EXAMPLE = Path(__file__).parents[1] / "examples" / "multi_image" / "multi_image.yaml"

IDEA = "a night full of stars"
COUNTS = (4, 8)

TINY_MODELS = EXAMPLE.parents[1] / "tiny_models"
#: Channels of the feed-forward layers that make the tiny Llama one of 100 M parameters.
WIDE = 22_400

REPEATS = 5

_LIVE, _WHOLE = '"{{ prompts.items }}"\n    limit', '"{{ prompts.items[:16] }}"\n    limit'

_TIMEOUT_S = 300


def run_workflow(url: str, name: str, count: int) -> tuple[float, float]:
    """Give the seconds to the first picture and to the last."""
    began = time.perf_counter()
    arrivals: list[float] = []
    inputs = {"idea": IDEA, "num_images": count}
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


def call_in_turn(url: str, count: int) -> tuple[float, float]:
    """Call the models one after another, without a workflow."""
    began = time.perf_counter()
    arrivals: list[float] = []
    content = f"Write {count} picture prompts, one a line, about: {IDEA}"
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S) as http:

        def predict(model: str, **order: object) -> dict[str, object]:
            answer = http.post(f"/api/models/{model}/predict", json=order)
            answer.raise_for_status()
            outputs: dict[str, object] = answer.json()["outputs"]
            return outputs

        messages = [{"role": "user", "content": content}]
        params = {"max_tokens": 320, "temperature": 0}
        text = str(predict("llama", inputs={"messages": messages}, params=params)["text"])
        for number, line in enumerate(text.splitlines()[:count]):
            predict("stable_diffusion", inputs={"prompt": line, "seed": number})
            arrivals.append(time.perf_counter() - began)
    return arrivals[0], arrivals[-1]


def write_workflows(folder: Path, llama: Path, *, device: str | None = None) -> tuple[Path, Path]:
    """Write the example's workflow with a Llama, and with a list that is there when it is whole.

    Its models go wherever they are the fastest, unless a device is named.
    """
    live, whole = folder / "live.yaml", folder / "whole.yaml"
    text = EXAMPLE.read_text("utf-8").replace("../tiny_models/tiny_llama", str(llama))
    text = text.replace("../tiny_models", str(TINY_MODELS))
    if device is not None:
        text = text.replace("    kind: ", f"    devices: [{device!r}]\n    kind: ")
    live.write_text(text, "utf-8")
    text = text.replace("name: multi_image", "name: whole").replace(_LIVE, _WHOLE)
    whole.write_text(text, "utf-8")
    return live, whole


def main() -> None:
    """Measure all three, in turn, with both Llamas."""
    report = Report(
        name="multi_image",
        title="pictures of an idea, through the server",
        columns=("", "first picture, s", "last picture, s", "first over chain", "last over chain"),
    )
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        wide = folder / "llama"
        widen_llama(TINY_MODELS / "tiny_llama", wide, intermediate=WIDE)
        for name, llama in (("tiny", TINY_MODELS / "tiny_llama"), ("100 M", wide)):
            files = write_workflows(folder, llama)
            with Server(*files, store=folder / name) as server:
                for count in COUNTS:
                    add_rows(report, f"{name}, {count}", measure_ways(server.url, count))
    report.finish()


def measure_ways(
    url: str, count: int, *, repeats: int = REPEATS
) -> dict[str, list[tuple[float, float]]]:
    """Give the seconds to the first picture and to the last of each way, repeat by repeat."""
    sides: dict[str, Callable[[], tuple[float, float]]] = {
        "live": lambda: run_workflow(url, "multi_image", count),
        "whole": lambda: run_workflow(url, "whole", count),
        "chain": lambda: call_in_turn(url, count),
    }
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, measure in sides.items():
            figures[name].append(measure())
    return {name: pairs[1:] for name, pairs in figures.items()}  # the first was warm-up


def add_rows(report: Report, case: str, figures: dict[str, list[tuple[float, float]]]) -> None:
    """Add the medians of each way, and over the chain of calls."""
    titles = {
        "live": "each picture starts with its prompt",
        "whole": "pictures start when all prompts are there",
        "chain": "one call after another",
    }
    chain = list(zip(*figures["chain"], strict=True))
    for name, title in titles.items():
        firsts, lasts = zip(*figures[name], strict=True)
        report.add(
            f"{case}: {title}",
            statistics.median(firsts),
            statistics.median(lasts),
            paired_ratio(firsts, chain[0]),
            paired_ratio(lasts, chain[1]),
        )


if __name__ == "__main__":
    main()
