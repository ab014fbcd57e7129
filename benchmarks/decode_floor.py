"""Tokens of one sequence against what memory allows: `python -m benchmarks.decode_floor`.

A token cannot be had in less time than reading the weights takes once. How fast this machine reads
is measured in the same run. Engines without a server, as in a worker.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.folders import LLAMA_SIZES, make_llama
from benchmarks.openvino_llm import measure
from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report, interleave


TOKENS = 64
_SECONDS = 1.0
_FACTORY = "torchloom_models.llm.opening:open_engine"

#: Device, dtype, form of the weights, bytes that one of them takes (scales left out). The Llama is
#: stored in bfloat16: `openvino:CPU` keeps it so, and widens it as it calculates in float32.
CASES = (
    ("openvino:CPU", "float32", "full", 2.0),
    ("openvino:CPU", "bfloat16", "full", 2.0),
    ("openvino:CPU", "bfloat16", "int8", 1.0),
    ("openvino:CPU", "bfloat16", "int4", 0.5),
    ("cpu", "float32", "full", 4.0),
    ("cpu", "bfloat16", "full", 2.0),
)


def compare(report: Report, folder: Path, name: str, count: int) -> None:
    """Measure one model in every form."""
    for device, dtype, weights, size in CASES:
        keys = {"source": str(folder / "llama"), "dtype": dtype, "max_length": 512}
        config = {**keys, "weights": weights, "artefacts": str(folder / "artefacts")}
        with ExitStack() as stack:
            engine = stack.enter_context(
                LineProcess("benchmarks.peers.engine", _FACTORY, json.dumps(config), device)
            )
            memory = stack.enter_context(LineProcess("benchmarks.peers.bandwidth"))
            sides = {
                "tokens": lambda engine=engine: measure(engine, 1, TOKENS, _SECONDS),
                "memory": lambda memory=memory: memory.ask(seconds=_SECONDS)["bytes_per_s"],
            }
            interleave(sides, repeats=1)  # warm-up
            figures = interleave(sides)
        pairs = zip(figures["tokens"], figures["memory"], strict=True)
        report.add(
            f"{name}, {device}, {dtype}, {weights} weights",
            statistics.median(figures["tokens"]),
            statistics.median(figures["memory"]) / (count * size),
            statistics.median(tokens * count * size / memory for tokens, memory in pairs),
        )
        report.write()


def main() -> None:
    """Measure the sizes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["100M"], choices=list(LLAMA_SIZES))
    options = parser.parse_args()
    report = Report(
        name="decode_floor",
        title="One sequence, tokens/s, and what memory allows",
        columns=("", "tokens/s", "by memory", "of that"),
    )
    for size in options.sizes:
        hidden, layers = LLAMA_SIZES[size]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            count = make_llama(folder / "llama", hidden=hidden, layers=layers)
            compare(report, folder, f"{count / 1e6:.0f} M", count)
    report.finish()


if __name__ == "__main__":
    main()
