"""The RAG pipeline over the sum of its parts: `python -m benchmarks.rag`.

One client runs the workflow; beside it the same engines are called directly, one after another, on
the same question: embed, search, render the prompt, generate. Once all of them live in one process,
and once each has a process of its own behind a pipe, as in the server. Once with the example's tiny
Llama, where a token takes about a millisecond, and once with a Llama of 110 M parameters.
"""

from __future__ import annotations

import http.client
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.folders import make_llama
from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report, interleave, paired_ratio
from benchmarks.server import RAG, Server, build_rag_index


#: Questions in one measurement, for the tiny Llama and for the large one.
QUESTIONS, FEW_QUESTIONS = 20, 2
_TIMEOUT_S = 300
TINY_LLAMA = RAG.parent / "tiny_models" / "tiny_llama"


def questions(count: int) -> list[str]:
    """Give the first of the example's questions."""
    lines = (RAG / "questions.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines[:count]]


def time_workflow(connection: http.client.HTTPConnection, asked: Sequence[str]) -> float:
    """Give the seconds for all questions, one after another."""
    began = time.perf_counter()
    for question in asked:
        body = json.dumps({"question": question})
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/api/workflows/rag/runs", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"The server answered {answer.status}: {text.decode()}")
    return time.perf_counter() - began


def with_large_llama(folder: Path) -> Path:
    """Write the example's workflow with one line changed: another Llama."""
    make_llama(folder / "llama", hidden=768, layers=12)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TINY_LLAMA / name, folder / "llama")
    for name in ("handbook", ".torchloom"):
        (folder / name).symlink_to(RAG / name)
    text = (RAG / "rag.yaml").read_text("utf-8")
    file = folder / "rag.yaml"
    file.write_text(text.replace("../tiny_models/tiny_llama", "llama"), "utf-8")
    return file


def compare(report: Report, name: str, file: Path, asked: list[str]) -> None:
    """Measure one workflow file."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        with (
            Server(file, store=store) as server,
            LineProcess("benchmarks.peers.rag_parts", str(file), str(store), "here") as here,
            LineProcess("benchmarks.peers.rag_parts", str(file), str(store), "apart") as apart,
        ):
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=_TIMEOUT_S)
            sides = {
                "workflow": lambda: time_workflow(connection, asked),
                "here": lambda: here.ask(questions=asked)["seconds"],
                "apart": lambda: apart.ask(questions=asked)["seconds"],
            }
            interleave(sides, repeats=2)  # warm-up
            figures = interleave(sides)
            connection.close()
    report.add(
        name,
        *(statistics.median(figures[side]) / len(asked) * 1e3 for side in sides),
        paired_ratio(figures["workflow"], figures["here"]),
        paired_ratio(figures["workflow"], figures["apart"]),
    )


def main() -> None:
    """Measure both."""
    build_rag_index()
    report = Report(
        name="rag",
        title="RAG end to end over the sum of its parts, ms a question, 1 client",
        columns=(
            "",
            "through the server",
            "parts in one process",
            "parts in one process each",
            "ratio",
            "ratio each",
        ),
    )
    compare(report, "tiny Llama (the example)", RAG / "rag.yaml", questions(QUESTIONS))
    with tempfile.TemporaryDirectory() as folder:
        file = with_large_llama(Path(folder))
        compare(report, "Llama of 110 M", file, questions(FEW_QUESTIONS))
    report.finish()


if __name__ == "__main__":
    main()
