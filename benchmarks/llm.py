"""Tokens per second of the LLM engine: `python -m benchmarks.llm`.

Through the server at 1, 4 and 16 concurrent requests, beside transformers' `generate` on the same
folder and dtype, one request at a time and as one batch.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.folders import LLAMA_SIZES, make_llama, prompt_of
from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report, interleave, paired_ratio
from benchmarks.server import Server


CLIENTS = (1, 4, 16)
PROMPT_TOKENS = 32


async def serve_requests(url: str, clients: int, tokens: int) -> float:
    """Send the requests at once; give the seconds until the last is answered."""
    params = {"max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        began = time.perf_counter()
        answers = await asyncio.gather(
            *(
                client.post(
                    "/api/models/llama/predict",
                    json={"inputs": {"prompt": prompt_of(PROMPT_TOKENS, seed)}, "params": params},
                )
                for seed in range(clients)
            )
        )
        took = time.perf_counter() - began
    for answer in answers:
        answer.raise_for_status()
    return took


def compare(report: Report, size: str, dtype: str, tokens: int) -> None:
    """Measure one size at each number of clients."""
    hidden, layers = LLAMA_SIZES[size]
    with tempfile.TemporaryDirectory() as folder:
        count = make_llama(Path(folder) / "llama", hidden=hidden, layers=layers)
        file = Path(folder) / "model.yaml"
        file.write_text(
            f"name: llama\nkind: llm\nsource: ./llama\ndtype: {dtype}\n"
            "compile: inductor\nmax_length: 256\nbatching: {max_size: 16}\n",
            "utf-8",
        )
        with (
            Server(file) as server,
            LineProcess("benchmarks.peers.transformers_generate", f"{folder}/llama", dtype) as peer,
        ):
            for clients in CLIENTS:
                _compare_clients(
                    report, f"{size} ({count / 1e6:.0f} M) {dtype}", clients, tokens, server, peer
                )


def _compare_clients(
    report: Report, name: str, clients: int, tokens: int, server: Server, peer: LineProcess
) -> None:
    total = clients * tokens

    def ask(*, is_batched: bool) -> float:
        order = {"clients": clients, "tokens": tokens, "prompt_tokens": PROMPT_TOKENS}
        return total / peer.ask(**order, is_batched=is_batched)["seconds"]

    sides = {
        "ours": lambda: total / asyncio.run(serve_requests(server.url, clients, tokens)),
        "single": lambda: ask(is_batched=False),
        "batched": lambda: ask(is_batched=True),
    }
    interleave(sides, repeats=1)  # warm-up
    figures = interleave(sides)
    report.add(
        f"{name}, {clients} clients",
        *(statistics.median(figures[side]) for side in sides),
        paired_ratio(figures["ours"], figures["single"]),
        paired_ratio(figures["ours"], figures["batched"]),
    )


def main() -> None:
    """Measure the sizes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["tiny", "100M"], choices=list(LLAMA_SIZES))
    parser.add_argument("--dtypes", nargs="*", default=["bfloat16"])
    parser.add_argument("--tokens", type=int, default=32)
    options = parser.parse_args()
    report = Report(
        name="llm",
        title=f"LLM, tokens/s ({options.tokens} tokens an answer)",
        columns=(
            "",
            "TorchLoom",
            "generate, one by one",
            "generate, batched",
            "ratio",
            "ratio batched",
        ),
    )
    for size in options.sizes:
        for dtype in options.dtypes:
            compare(report, size, dtype, options.tokens)
    report.finish()


if __name__ == "__main__":
    main()
