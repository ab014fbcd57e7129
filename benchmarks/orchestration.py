"""What orchestration costs, with a model that does nothing: `python -m benchmarks.orchestration`.

Requests over HTTP beside a peer (mosec, where it is installed), one more node in a chain, one more
item in a foreach, and one more task in a long queue.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import uvloop

from benchmarks.load import Load, measure
from benchmarks.report import Report, interleave, paired_ratio
from benchmarks.server import Server, free_port
from torchloom.deployment import Deployment
from torchloom.orchestrator import Orchestrator
from torchloom.policy import QueuePolicy


CLIENTS = (1, 16, 64)
CHAIN = (1, 2, 4, 8, 16)
ITEMS = (1, 16, 64, 256)
QUEUED = (10, 100, 1_000, 10_000)

_MODEL = "models:\n  noop: {kind: function, function: 'benchmarks.functions:noop'}\n"


def chain_yaml(length: int) -> str:
    """Write a workflow of `length` nodes, each reading the one before."""
    nodes = ["  n0: {model: noop, inputs: {x: '{{ inputs.x }}'}}"]
    nodes += [
        f"  n{i}: {{model: noop, inputs: {{x: '{{{{ n{i - 1}.x }}}}'}}}}" for i in range(1, length)
    ]
    head = f"name: chain{length}\nversion: 1\ninputs: {{x: {{type: integer}}}}\nnodes:\n"
    return head + "\n".join(nodes) + f"\noutputs: {{x: '{{{{ n{length - 1}.x }}}}'}}\n"


_FOREACH = """name: each
version: 1
inputs: {xs: {type: array}}
nodes:
  all: {foreach: '{{ inputs.xs }}', model: noop, inputs: {x: '{{ item }}'}}
outputs: {xs: '{{ all.x }}'}
"""


@contextmanager
def mosec_noop() -> Iterator[str | None]:
    """Serve the peer's no-op; None where it is not installed."""
    if importlib.util.find_spec("mosec") is None:
        yield None
        return
    port = free_port()
    script = Path(__file__).parent / "peers" / "mosec_noop.py"
    command = [sys.executable, str(script), "--port", str(port), "--address", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}/inference"
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("The peer did not start.")


def compare_http(report: Report, ours: str, theirs: str | None) -> None:
    """Measure requests/s and p99 at each number of clients, in turn with the peer."""
    body = {"inputs": {"x": 1}}
    for clients in CLIENTS:
        loads: dict[str, list[Load]] = {"ours": [], "theirs": []}

        def run(
            side: str, url: str, loads: dict[str, list[Load]] = loads, clients: int = clients
        ) -> float:
            loads[side].append(measure(url, body, clients=clients, seconds=2.0))
            return loads[side][-1].per_s

        sides = {"ours": lambda: run("ours", ours)}
        if theirs is not None:
            sides["theirs"] = lambda: run("theirs", theirs)
        figures = interleave(sides)
        report.add(
            f"{clients} clients",
            statistics.median(figures["ours"]),
            statistics.median(load.p99_s for load in loads["ours"]) * 1e3,
            sum(load.errors for load in loads["ours"]),
            statistics.median(figures["theirs"]) if theirs else "absent",
            statistics.median(x.p99_s for x in loads["theirs"]) * 1e3 if theirs else "absent",
            paired_ratio(figures["ours"], figures["theirs"]) if theirs else "absent",
        )


def time_runs(client: httpx.Client, name: str, inputs: dict[str, object], *, runs: int) -> float:
    """Give the median seconds of a run at one client."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        client.post(f"/api/workflows/{name}/runs", json=inputs).raise_for_status()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure_growth(report: Report, url: str) -> None:
    """Measure chains and foreachs of each size, in turn, and fit the slope."""
    with httpx.Client(base_url=url, timeout=60) as client:
        for text in (_FOREACH, *(chain_yaml(length) for length in CHAIN)):
            client.post(
                "/api/workflows", content=text, headers={"Content-Type": "application/yaml"}
            ).raise_for_status()
        chains = interleave(
            {str(n): lambda n=n: time_runs(client, f"chain{n}", {"x": 1}, runs=100) for n in CHAIN}
        )
        items = interleave(
            {
                str(n): lambda n=n: time_runs(client, "each", {"xs": list(range(n))}, runs=20)
                for n in ITEMS
            }
        )
    for noun, sizes, figures in (
        ("node in a chain", CHAIN, chains),
        ("item of a foreach", ITEMS, items),
    ):
        medians = [statistics.median(figures[str(n)]) * 1e3 for n in sizes]
        slope = float(np.polyfit(sizes, medians, 1)[0])
        series = ", ".join(f"{n}: {ms:.2f}" for n, ms in zip(sizes, medians, strict=True))
        report.notes.append(f"One more {noun} costs {slope:.3f} ms (ms by number: {series}).")


async def measure_queue() -> dict[int, float]:
    """Give the seconds per task with that many tasks queued at once, without HTTP."""
    deployment = Deployment(
        name="noop",
        kind="function",
        factory="torchloom_models.function:open_function",
        config={"function": "benchmarks.functions:noop", "functions": ["benchmarks.functions"]},
        queue=QueuePolicy(max_size=max(QUEUED)),
    )
    costs: dict[int, list[float]] = {count: [] for count in QUEUED}
    async with Orchestrator() as orchestrator:
        await orchestrator.add_model(deployment)
        for _ in range(5):
            for count in QUEUED:
                began = time.perf_counter()
                await asyncio.gather(
                    *(orchestrator.predict("noop", {"x": 1}, {}) for _ in range(count))
                )
                costs[count].append((time.perf_counter() - began) / count)
    return {count: statistics.median(values) for count, values in costs.items()}


def main() -> None:
    """Run it all."""
    report = Report(
        name="orchestration",
        title="A model that does nothing, over HTTP (client and server share the cores)",
        columns=("", "requests/s", "p99 ms", "errors", "mosec requests/s", "mosec p99 ms", "ratio"),
    )
    environment = {**os.environ, "TORCHLOOM_FUNCTIONS": "benchmarks.functions"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "noop.yaml"
        file.write_text(_MODEL + chain_yaml(1).replace("chain1", "start"), "utf-8")
        with Server(file, environment=environment) as server, mosec_noop() as peer:
            compare_http(report, f"{server.url}/api/models/noop/predict", peer)
            measure_growth(report, server.url)
    costs = uvloop.run(measure_queue())
    series = ", ".join(f"{count:,}: {cost * 1e6:.0f}" for count, cost in costs.items())
    report.notes.append(f"µs per task by tasks queued at once: {series}.")
    report.finish()


if __name__ == "__main__":
    main()
