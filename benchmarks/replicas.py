"""One queue over a CPU and an OpenVINO replica: `python -m benchmarks.replicas`.

MiniLM at 32 clients: both devices behind one queue, beside either device alone. Each replica has
one thread, as it would have cores of its own where there are enough of them.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.embedder import SOURCE
from benchmarks.load import measure
from benchmarks.report import Report, interleave, paired_ratio
from benchmarks.server import Server
from benchmarks.texts import passages


CLIENTS = 32
SECONDS = 2.0

SIDES = {
    "both": "[cpu, openvino:CPU]",
    "cpu": "[cpu]",
    "openvino:CPU": "[openvino:CPU]",
}


def per_s(url: str) -> float:
    """Give the texts per second."""
    body = {"inputs": {"text": passages()[0]}}
    return measure(
        f"{url}/api/models/minilm/predict", body, clients=CLIENTS, seconds=SECONDS, warmup_s=0.5
    ).per_s


def main() -> None:
    """Serve each side in a server of its own, and ask them in turn."""
    report = Report(
        name="replicas",
        title=f"MiniLM, {CLIENTS} clients, one thread a replica: texts/s",
        columns=("", "texts/s", "both over it"),
    )
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        folder = Path(text)
        sides = {}
        for number, (name, devices) in enumerate(SIDES.items()):
            file = folder / f"{number}.yaml"
            file.write_text(
                f"name: minilm\nkind: embedder\nsource: {SOURCE}\nthreads: 1\n"
                f"devices: {devices}\nbatching: {{max_size: 16}}\n",
                "utf-8",
            )
            server = stack.enter_context(Server(file, store=folder / "store"))
            sides[name] = partial(per_s, server.url)
        interleave(sides, repeats=1)  # warm-up
        figures = interleave(sides)
    for name in SIDES:
        report.add(
            name,
            statistics.median(figures[name]),
            paired_ratio(figures["both"], figures[name]),
        )
    report.finish()


if __name__ == "__main__":
    main()
