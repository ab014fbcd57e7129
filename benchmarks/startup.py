"""Start of a server with its RAG models, with and without kept artefacts.

`python -m benchmarks.startup`.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from benchmarks.report import Report, interleave, paired_ratio
from benchmarks.server import RAG, Server, build_rag_index


def start_to_answer(file: Path, store: Path, path: str, body: Mapping[str, object]) -> float:
    """Give the seconds from the start of the server to its first answer."""
    began = time.perf_counter()
    with Server(file, store=store) as server:
        httpx.post(f"{server.url}{path}", json=body, timeout=300).raise_for_status()
        return time.perf_counter() - began


def start_twice(
    file: Path, store: Path, path: str, body: Mapping[str, object], *, repeats: int
) -> dict[str, list[float]]:
    """Give the seconds of each first start, with nothing kept, and of each second."""

    def first() -> float:
        shutil.rmtree(store, ignore_errors=True)
        return start_to_answer(file, store, path, body)

    def second() -> float:
        return start_to_answer(file, store, path, body)

    return interleave({"first": first, "second": second}, repeats=repeats)


def main() -> None:
    """Start anew and again, in turn."""
    build_rag_index()
    body = {"question": "When does the harbour office open?"}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        figures = start_twice(RAG / "rag.yaml", store, "/api/workflows/rag/runs", body, repeats=3)
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
