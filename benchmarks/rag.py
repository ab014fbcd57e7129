"""The RAG pipeline over the sum of its parts: `python -m benchmarks.rag`.

One client runs the workflow; beside it the same engines are driven in process, one after another,
on the same question: embed, search, render the prompt, generate.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report, interleave, paired_ratio
from benchmarks.server import RAG, Server, build_rag_index


QUESTIONS = 10


def questions() -> list[str]:
    """Give the first of the example's questions."""
    lines = (RAG / "questions.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines[:QUESTIONS]]


def time_workflow(client: httpx.Client) -> float:
    """Give the seconds for all questions, one after another."""
    began = time.perf_counter()
    for question in questions():
        answer = client.post("/api/workflows/rag/runs", json={"question": question})
        answer.raise_for_status()
    return time.perf_counter() - began


def main() -> None:
    """Measure in turn."""
    build_rag_index()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        with (
            Server(RAG / "rag.yaml", store=store) as server,
            LineProcess("benchmarks.peers.rag_parts", str(RAG / "rag.yaml"), str(store)) as parts,
            httpx.Client(base_url=server.url, timeout=300) as client,
        ):
            sides = {
                "workflow": lambda: time_workflow(client),
                "parts": lambda: parts.ask(questions=questions())["seconds"],
            }
            interleave(sides, repeats=2)  # warm-up
            figures = interleave(sides)
    report = Report(
        name="rag",
        title=f"RAG end to end over the sum of its parts, s for {QUESTIONS} questions",
        columns=("", "through the server", "parts in process", "ratio"),
    )
    report.add(
        "RAG example, 1 client",
        statistics.median(figures["workflow"]),
        statistics.median(figures["parts"]),
        paired_ratio(figures["workflow"], figures["parts"]),
    )
    report.finish()


if __name__ == "__main__":
    main()
