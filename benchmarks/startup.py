"""Start of a server with its RAG models, with and without kept artefacts.

`python -m benchmarks.startup`.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.report import Report, interleave, paired_ratio
from benchmarks.server import RAG, Server, build_rag_index


def start_to_answer(store: Path) -> float:
    """Give the seconds from the start of the server to its first answer."""
    began = time.perf_counter()
    with Server(RAG / "rag.yaml", store=store) as server:
        body = {"question": "When does the harbour office open?"}
        url = f"{server.url}/api/workflows/rag/runs"
        httpx.post(url, json=body, timeout=300).raise_for_status()
        return time.perf_counter() - began


def main() -> None:
    """Start anew and again, in turn."""
    build_rag_index()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"

        def first() -> float:
            shutil.rmtree(store, ignore_errors=True)
            return start_to_answer(store)

        figures = interleave({"first": first, "second": lambda: start_to_answer(store)}, repeats=3)
    report = Report(
        name="startup",
        title="Start of the server to its first answer, s",
        columns=("", "first start", "second start", "ratio second/first"),
    )
    report.add(
        "RAG example",
        statistics.median(figures["first"]),
        statistics.median(figures["second"]),
        paired_ratio(figures["second"], figures["first"]),
    )
    report.finish()


if __name__ == "__main__":
    main()
