"""What gathering a worker's memory into huge pages gives: `python -m benchmarks.huge_pages`.

A Llama of about 100 M, without a server, in three processes: memory gathered, left as it fell, and
left so once more, which says how much two processes differ that are the same.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.folders import make_llama
from benchmarks.openvino_llm import measure
from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report, interleave, paired_ratio


CLIENTS = (1, 16)
TOKENS = 32
_SECONDS = 0.5
_FACTORY = "torchloom_models.llm.opening:open_engine"

#: Sides, and how their memory lies; the first to be opened is a scattered one.
SIDES = {"scattered": "scattered", "gathered": "gathered", "again": "scattered"}


def compare(report: Report, folder: str, dtype: str, device: str) -> None:
    """Measure one dtype on one device."""
    keys = {"source": folder, "dtype": dtype, "max_length": 512}
    config = json.dumps({**keys, "artefacts": f"{folder}/artefacts"})
    with ExitStack() as stack:
        sides = {
            side: stack.enter_context(
                LineProcess("benchmarks.peers.engine", _FACTORY, config, device, memory)
            )
            for side, memory in SIDES.items()
        }
        for clients in CLIENTS:
            calls = {
                side: partial(measure, process, clients, TOKENS, _SECONDS)
                for side, process in sides.items()
            }
            interleave(calls, repeats=1)  # warm-up
            figures = interleave(calls, repeats=7)
            report.add(
                f"{device}, {dtype}, {clients} at once",
                *(statistics.median(figures[side]) for side in ("gathered", "scattered")),
                *(
                    paired_ratio(figures[side], figures["scattered"])
                    for side in SIDES
                    if side != "scattered"
                ),
            )


def main() -> None:
    """Measure both dtypes on both devices of a CPU."""
    report = Report(
        name="huge_pages",
        title=f"LLM without a server, tokens/s ({TOKENS} tokens an answer)",
        columns=("", "gathered", "scattered", "over scattered", "a second scattered over it"),
    )
    with tempfile.TemporaryDirectory() as folder:
        make_llama(Path(folder), hidden=768, layers=12)
        for device in ("openvino:CPU", "cpu"):
            for dtype in ("float32", "bfloat16"):
                compare(report, folder, dtype, device)
    report.finish()


if __name__ == "__main__":
    main()
