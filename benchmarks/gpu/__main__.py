"""Runs the parts, one after another: `python -m benchmarks gpu [--only llm,pictures]`.

Each part is a process, which is ended when its time is over; its table is printed from what it has
written by then. All output of the parts goes to `gpu.log`, all tables to `gpu.txt`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.gpu.setup import Setup, add_arguments
from benchmarks.report import print_table


#: Name of a part → the most seconds that it may take.
PARTS = {
    "llm": 170,
    "pictures": 300,
    "embedder": 130,
    "startup": 130,
    "multi_image": 120,
    "module": 110,
}

#: How long a part may take to end its processes.
_END_S = 20.0

_LOG_LINES = 15


def main() -> int:
    """Run those that are asked for; the exit code is the number that failed."""
    options = _parse()
    unknown = sorted(set(options.only) - set(PARTS))
    if unknown:
        print(f"There is no part {unknown[0]!r}. There are: {', '.join(PARTS)}.")
        return 2
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("gpu: torch sees no CUDA device here; `--device cpu --small` tries the benchmark.")
        return 0 if options.if_there else 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ending what the part has started
    setup = Setup.from_arguments(options)
    setup.out.mkdir(parents=True, exist_ok=True)
    for name in ("gpu.log", "gpu.txt"):
        (setup.out / name).unlink(missing_ok=True)
    ends = time.perf_counter() + options.time_s
    failed = 0
    for name in options.only:
        left = ends - time.perf_counter()
        if left < _END_S:
            print(f"{name}: left out, since the time is over.", flush=True)
            failed += 1
            continue
        failed += not run_part(name, setup, min(left, PARTS[name] * options.slack))
    if options.work is None:
        shutil.rmtree(setup.work, ignore_errors=True)
    return failed


def run_part(name: str, setup: Setup, limit_s: float) -> bool:
    """Run a part and print what it has found; say whether it came to its end."""
    result, log = setup.out / f"gpu_{name}.json", setup.out / "gpu.log"
    result.unlink(missing_ok=True)
    began = time.perf_counter()
    with log.open("a", encoding="utf-8") as output:
        output.write(f"\n=== {name}\n")
        output.flush()
        ended = _run([f"benchmarks.gpu.{name}", *setup.arguments], output.fileno(), limit_s)
    took = f"{time.perf_counter() - began:.0f} s"
    texts = {0: "done", None: "its time was over"}
    verdict = f"{name}: {texts.get(ended, f'failed with {ended}')}, after {took}"
    _tell(setup.out / "gpu.txt", verdict, result)
    if ended != 0:
        print("\n".join(log.read_text("utf-8").splitlines()[-_LOG_LINES:]), flush=True)
    return ended == 0


def _run(arguments: Sequence[str], output: int, limit_s: float) -> int | None:
    """Give the exit code, or None where the time is over. Whatever it has started is ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        process_group=0,
    )
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        for number, wait_s in ((signal.SIGTERM, _END_S), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)


def _tell(texts: Path, verdict: str, result: Path) -> None:
    """Print a part's verdict and table, and add them to the file of all tables."""
    with texts.open("a", encoding="utf-8") as file:
        for console in (Console(width=160), Console(file=file, width=160)):
            console.print(verdict, highlight=False)
            if result.exists():
                found = json.loads(result.read_text("utf-8"))
                names = ("title", "columns", "rows", "notes")
                print_table(console, *(found[name] for name in names))
    sys.stdout.flush()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    add_arguments(parser)
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(PARTS),
        help=f"parts, with commas: {','.join(PARTS)}",
    )
    parser.add_argument("--time-s", type=float, default=560.0, help="the most seconds in all")
    parser.add_argument("--slack", type=float, default=1.0, help="factor on each part's time")
    parser.add_argument(
        "--if-there", action="store_true", help="do nothing, without failing, where there is no GPU"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
