"""A language model under load, beside its rivals on a CPU: `python -m benchmarks.llm_load`.

TorchLoom through its server, over HTTP with streaming, and its engine in process; transformers'
`generate` (batches) and its continuous batching, openvino-genai's continuous batching and llama.cpp
in process, each without any server. So many requests in flight (closed), or arriving at random
times (Poisson), at half the rate that TorchLoom could bear; prompts that begin alike, or not. The
same folder, dtype and prompts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path

from benchmarks.folders import LLAMA_SIZES, make_llama, prompt_of
from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report, paired_ratio
from benchmarks.server import Server


CLIENTS = (1, 4, 16)
PROMPT_TOKENS, SHARED_TOKENS, TOKENS = 48, 384, 48
FIGURES = ("per_s", "first_p50", "first_p99", "between_p50", "between_p99")

#: Arrivals at random: this share of what TorchLoom answers with as many requests as fit.
_LOAD = 0.5
_RANDOM_REQUESTS = 32

#: TorchLoom's two sides: what a client gets, and what is to be held against engines in process.
SERVED, ENGINE = "TorchLoom", "its engine"

#: Peers and the packages that they need.
PEERS = {
    "generate": ("benchmarks.peers.transformers_load", "transformers"),
    "continuous": ("benchmarks.peers.transformers_load", "transformers"),
    "openvino-genai": ("benchmarks.peers.genai_load", "openvino_genai, optimum.intel"),
    "llama.cpp": ("benchmarks.peers.llama_cpp_load", "llama_cpp, gguf"),
}

Figures = dict[str, list[dict[str, float]]]


def prompts(count: int, *, are_alike: bool, seed: int = 0) -> list[str]:
    """Give prompts that differ from the first token on, or begin with the same passages."""
    if not are_alike:
        return [f"{seed + n} {prompt_of(PROMPT_TOKENS, seed + n)}" for n in range(count)]
    shared = prompt_of(SHARED_TOKENS, 3)
    return [f"{shared} {seed + n} {prompt_of(PROMPT_TOKENS, seed + n)}" for n in range(count)]


def closed(clients: int, *, are_alike: bool, seed: int) -> dict[str, object]:
    """Order a load with so many requests in flight: a few after one another of each client."""
    count = clients * max(2, 4 // clients)
    texts = prompts(count, are_alike=are_alike, seed=seed)
    return {"prompts": texts, "tokens": TOKENS, "clients": clients}


def poisson(per_s: float, *, seed: int) -> dict[str, object]:
    """Order a load of requests that come at random, so many a second."""
    drawn = random.Random(seed)
    gaps = (drawn.expovariate(per_s) for _ in range(_RANDOM_REQUESTS))
    texts = prompts(_RANDOM_REQUESTS, are_alike=False, seed=seed)
    return {"prompts": texts, "tokens": TOKENS, "arrivals": list(accumulate(gaps))}


def is_there(python: str, packages: str) -> bool:
    """Tell whether an interpreter has what a peer needs."""
    command = [python, "-c", f"import {packages}"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def open_sides(
    folder: Path, dtype: str, device: str, pythons: Mapping[str, str], peers: Sequence[str]
) -> Iterator[dict[str, LineProcess]]:
    """Start TorchLoom's server and every peer that is there."""
    file = folder / "model.yaml"
    file.write_text(
        f"name: llama\nkind: llm\nsource: ./llama\ndtype: {dtype}\ndevices: [{device}]\n"
        "max_length: 1024\nbatching: {max_size: 16}\n",
        "utf-8",
    )
    source = str(folder / "llama")
    config = {"source": source, "dtype": dtype, "max_length": 1024, "max_size": 16}
    more = {
        "generate": ["generate"],
        "continuous": ["continuous"],
        "openvino-genai": [],
        "llama.cpp": [str(os.cpu_count())],
    }
    with ExitStack() as stack:
        server = stack.enter_context(Server(file, store=folder / "store"))
        load = LineProcess("benchmarks.peers.served_load", server.url, "llama")
        engine = LineProcess("benchmarks.peers.engine_load", json.dumps(config))
        sides = {SERVED: stack.enter_context(load), ENGINE: stack.enter_context(engine)}
        for name, (module, packages) in PEERS.items():
            python = pythons.get(name, sys.executable)
            if name in peers and is_there(python, packages):
                peer = LineProcess(module, source, dtype, *more[name], python=python)
                sides[name] = stack.enter_context(peer)
        yield sides


def measure(
    sides: Mapping[str, LineProcess], orders: list[dict[str, object]], names: list[str]
) -> Figures:
    """Give the figures of each order, the sides in turn; the first order is for warming up."""
    figures: Figures = {name: [] for name in names}
    for order in orders:
        for name in names:
            figures[name].append(sides[name].ask(**order))
    return {name: of[1:] for name, of in figures.items()}


def add_rows(report: Report, case: str, figures: Figures) -> float:
    """Add a row for each side; give TorchLoom's tokens a second."""
    served, engine = ([each["per_s"] for each in figures[name]] for name in (SERVED, ENGINE))
    for name in (SERVED, ENGINE, *PEERS):
        if name not in figures:
            report.add(case, name, *("absent" for _ in FIGURES), "", "")
            continue
        of = figures[name]
        medians = [statistics.median(each[figure] for each in of) for figure in FIGURES]
        theirs = [each["per_s"] for each in of]
        report.add(case, name, *medians, paired_ratio(served, theirs), paired_ratio(engine, theirs))
    report.write()
    return statistics.median(served)


def compare(report: Report, case: str, sides: Mapping[str, LineProcess], repeats: int) -> None:
    """Measure one model under every load."""
    seeds = range(0, 1000 * (repeats + 1), 1000)
    names = list(sides)
    best = 0.0
    for clients in CLIENTS:
        make = partial(closed, clients, are_alike=False)
        figures = measure(sides, [make(seed=seed) for seed in seeds], names)
        best = add_rows(report, f"{case}, {clients} in flight", figures)
    make_alike = partial(closed, 4, are_alike=True)
    figures = measure(sides, [make_alike(seed=seed) for seed in seeds], names)
    add_rows(report, f"{case}, 4 in flight, the same {SHARED_TOKENS} tokens first", figures)
    per_s = _LOAD * best / TOKENS
    orders = [poisson(per_s, seed=seed) for seed in seeds]
    # One batch after another cannot keep up with requests that come apart: it would never end.
    names = [name for name in names if name != "generate"]
    add_rows(report, f"{case}, {per_s:.1f} a second at random", measure(sides, orders, names))


def main() -> None:
    """Measure the sizes and dtypes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["tiny", "100M"], choices=list(LLAMA_SIZES))
    parser.add_argument("--dtypes", nargs="*", default=["bfloat16"])
    parser.add_argument("--device", default="auto", help="what the model file of TorchLoom says")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers-python", default=sys.executable, help="a Python with the peers")
    options = parser.parse_args()
    pythons = dict.fromkeys(("openvino-genai", "llama.cpp"), options.peers_python)
    report = Report(
        name="llm_load",
        title=f"Answers of {TOKENS} tokens, streamed; times in ms",
        columns=("", "side", "tokens/s", *FIGURES[1:], "served over it", "engine over it"),
    )
    for size in options.sizes:
        for dtype in options.dtypes:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                hidden, layers = LLAMA_SIZES[size]
                count = make_llama(folder / "llama", hidden=hidden, layers=layers)
                with open_sides(folder, dtype, options.device, pythons, options.peers) as sides:
                    case = f"{count / 1e6:.0f} M {dtype}"
                    compare(report, case, sides, options.repeats)
    report.finish()


if __name__ == "__main__":
    main()
