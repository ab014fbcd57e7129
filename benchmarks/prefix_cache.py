"""What a prefix cache gives: `python -m benchmarks.prefix_cache [--device cpu]`.

A Llama of about 100 M on `openvino:CPU` or another device, without a server. Questions about the
same passages: time to the first token with the cache and without; and prompts of which no two begin
alike, where the cache is of no use: what it costs. A second process without the cache says how much
two processes that are the same differ.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.folders import make_llama, prompt_of
from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report, interleave, paired_ratio


#: Words before what differs, and words that differ.
PASSAGES, QUESTION = 384, 16

#: Requests in one measurement, one after another.
REQUESTS = 8

_DEVICE = "openvino:CPU"

_FACTORY = "torchloom_models.llm.opening:open_engine"


def alike() -> Iterator[str]:
    """Give prompts that differ at their end."""
    passages = prompt_of(PASSAGES, 1)
    return (f"{passages} {number} {prompt_of(QUESTION, number)}" for number in itertools.count())


def different() -> Iterator[str]:
    """Give prompts that differ from their first token on."""
    passages = prompt_of(PASSAGES, 1)
    return (f"{number} {passages} {prompt_of(QUESTION, number)}" for number in itertools.count())


def measure(process: LineProcess, prompts: Iterator[str], tokens: int) -> float:
    """Give the seconds of one answer of so many tokens, one request after another."""
    params = {"max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    taken = 0.0
    for prompt in itertools.islice(prompts, REQUESTS):
        batch = [{"inputs": {"prompt": prompt}, "params": params}]
        taken += 1 / process.ask(batch=batch, seconds=0.001)["per_s"]
    return taken / REQUESTS


def main() -> None:
    """Measure both kinds of prompts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default=_DEVICE)
    device: str = parser.parse_args().device
    length = PASSAGES + QUESTION
    report = Report(
        name="prefix_cache" if device == _DEVICE else f"prefix_cache_{device}",
        command=f"python -m benchmarks.prefix_cache --device {device}",
        title=f"{device}, prompts of some {length} tokens, one at a time, ms an answer",
        columns=("", "with the cache", "without", "with over without", "a second without over it"),
    )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        make_llama(Path(folder) / "llama", hidden=768, layers=12)
        config = {"source": f"{folder}/llama", "dtype": "bfloat16", "max_length": 1024}
        sides = {
            name: stack.enter_context(
                LineProcess(
                    "benchmarks.peers.engine",
                    _FACTORY,
                    json.dumps({**config, "prefix_cache": is_on}),
                    device,
                )
            )
            for name, is_on in (("with", True), ("without", False), ("again", False))
        }
        for process in sides.values():
            process.ask(settle_s=600)  # code that compiles beside
        for name, make, tokens in (
            ("same passages, first token", alike, 1),
            ("nothing alike, first token", different, 1),
            ("nothing alike, 32 tokens", different, 32),
        ):
            calls: dict[str, Callable[[], float]] = {
                side: partial(measure, process, make(), tokens) for side, process in sides.items()
            }
            interleave(calls, repeats=1)  # warm-up
            figures = interleave(calls, repeats=9)
            report.add(
                name,
                *(statistics.median(figures[side]) * 1e3 for side in ("with", "without")),
                *(paired_ratio(figures[side], figures["without"]) for side in ("with", "again")),
            )
    report.finish()


if __name__ == "__main__":
    main()
