"""Which way leads to OpenVINO for language models: `python -m benchmarks.openvino_llm`.

Tokens per second of our engine on `cpu` (inductor) and on `openvino:CPU`, beside openvino-genai's
continuous batching, each in a process of its own and without a server: the same weights, prompts
and greedy settings. openvino-genai and optimum-intel go into an environment of their own, whose
Python `--genai` names; without it their column says "absent".
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.folders import make_llama, prompt_of
from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report, interleave, paired_ratio


CLIENTS = (1, 4, 16)
PROMPT_TOKENS = 32

#: Each measurement takes as long, and ends with the batch that it is in.
_SECONDS = 1.0

_FACTORY = "torchloom_models.llm.opening:open_engine"
_GENAI = "benchmarks.peers.genai_batching"


def is_there(python: str) -> bool:
    """Say whether an environment has openvino-genai."""
    return subprocess.run([python, "-m", _GENAI], capture_output=True, check=False).returncode == 0


def open_sides(
    stack: ExitStack, folder: Path, dtype: str, weights: str, genai: str
) -> Mapping[str, LineProcess]:
    """Start a process for each side that there is."""
    config = {
        "source": str(folder / "llama"),
        "dtype": dtype,
        "max_length": 256,
        "prefix_cache": False,  # the same prompts again and again; genai keeps none by itself
    }
    sides = {}
    if weights == "full":
        inductor = json.dumps({**config, "compile": "inductor"})
        sides["cpu"] = LineProcess("benchmarks.peers.engine", _FACTORY, inductor, "cpu")
    ours = json.dumps({**config, "weights": weights})
    sides["openvino"] = LineProcess("benchmarks.peers.engine", _FACTORY, ours, "openvino:CPU")
    if weights == "full" and is_there(genai):
        sides["genai"] = LineProcess(_GENAI, str(folder / "llama"), dtype, python=genai)
    return {name: stack.enter_context(process) for name, process in sides.items()}


def measure(process: LineProcess, clients: int, tokens: int, seconds: float) -> float:
    """Give tokens per second of so many requests at once."""
    params = {"max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    batch = [
        {"inputs": {"prompt": prompt_of(PROMPT_TOKENS, seed)}, "params": params}
        for seed in range(clients)
    ]
    return tokens * process.ask(batch=batch, seconds=seconds)["per_s"]


def compare(report: Report, name: str, sides: Mapping[str, LineProcess], tokens: int) -> None:
    """Measure each number of requests, the sides in turn."""
    for clients in CLIENTS:
        calls: dict[str, Callable[[], float]] = {
            side: partial(measure, process, clients, tokens, _SECONDS)
            for side, process in sides.items()
        }
        interleave(calls, repeats=1)  # warm-up
        figures = interleave(calls)
        medians = {side: statistics.median(of) for side, of in figures.items()}
        ratios = {side: paired_ratio(figures["openvino"], of) for side, of in figures.items()}
        report.add(
            f"{name}, {clients} at once",
            *(medians.get(side, "absent") for side in ("cpu", "openvino", "genai")),
            *(ratios.get(side, "absent") for side in ("cpu", "genai")),
        )


def main() -> None:
    """Measure every dtype and form of weights that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genai", default=sys.executable, help="a Python with openvino-genai")
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--weights", nargs="*", default=["full"])
    parser.add_argument("--tokens", type=int, default=32)
    options = parser.parse_args()
    report = Report(
        name="openvino_llm",
        title=f"LLM without a server, tokens/s ({options.tokens} tokens an answer)",
        columns=("", "cpu", "openvino:CPU", "openvino-genai", "over cpu", "over genai"),
    )
    with tempfile.TemporaryDirectory() as folder:
        count = make_llama(Path(folder) / "llama", hidden=768, layers=12)
        for dtype in options.dtypes:
            for weights in options.weights:
                with ExitStack() as stack:
                    sides = open_sides(stack, Path(folder), dtype, weights, options.genai)
                    name = f"{count / 1e6:.0f} M {dtype}, {weights} weights"
                    compare(report, name, sides, options.tokens)
    report.finish()


if __name__ == "__main__":
    main()
