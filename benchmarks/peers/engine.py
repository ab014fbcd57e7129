"""An engine driven in process.

`python -m benchmarks.peers.engine FACTORY CONFIG [DEVICE [MEMORY]]`: MEMORY is `gathered` into huge
pages as in a worker, unless it is to stay `scattered`.

Reads {"batch": [{"inputs", "params"}, …], "seconds"}: admits the batch, steps until all of it is
answered, and does so again until the time is over. Answers {"per_s"}: tasks per second. And
{"settle_s"}: waits at most so long until nothing compiles; answers {"has_waited"}.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from torchloom import huge_pages
from torchloom.device import Device
from torchloom.engine import Engine, Failure, Result, Values, Work
from torchloom.worker import import_factory


_ids = itertools.count(1)


def open_like_worker(factory: str, config: dict[str, object], device: str) -> Engine:
    """Open an engine in this process, whose memory then lies as a worker's does."""
    engine = _open(factory, config, device)
    huge_pages.gather()
    return engine


def _open(factory: str, config: dict[str, object], device: str) -> Engine:
    return import_factory(factory)(config, Device.parse(device), lambda *_: None)


def drive(engine: Engine, batch: Sequence[Mapping[str, Values]]) -> list[Values]:
    """Admit a batch, step until it is answered, and give the outputs in its order."""
    works = [Work(next(_ids), task["inputs"], task.get("params", {})) for task in batch]
    for work in works:
        engine.admit(work)
    outputs: dict[int, Values] = {}
    while len(outputs) < len(works):
        for event in engine.step():
            if isinstance(event, Failure):
                raise event.error
            if isinstance(event, Result):
                outputs[event.task_id] = event.outputs
    return [outputs[work.task_id] for work in works]


def settle(engine: Engine, timeout_s: float) -> bool:
    """Wait until nothing compiles, or the time is over; say whether anything did."""
    ends = time.perf_counter() + timeout_s
    has_waited = False
    while any(status.pending for status in engine.code_status()) and time.perf_counter() < ends:
        has_waited = True
        time.sleep(0.05)
    return has_waited


def _own_output() -> TextIO:
    """Keep standard output for answers: what libraries print goes to where errors go."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def main() -> None:
    """Answer until standard input ends."""
    factory, config, device, memory = [*sys.argv[1:], *("cpu", "gathered")[len(sys.argv) - 3 :]]
    make = {"gathered": open_like_worker, "scattered": _open}[memory]
    answers = _own_output()
    engine = make(factory, json.loads(config), device)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "settle_s" in order:
            has_waited = settle(engine, order["settle_s"])
            print(json.dumps({"has_waited": has_waited}), file=answers, flush=True)
            continue
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < order["seconds"]:
            count += len(drive(engine, order["batch"]))
        print(
            json.dumps({"per_s": count / (time.perf_counter() - began)}), file=answers, flush=True
        )


if __name__ == "__main__":
    main()
