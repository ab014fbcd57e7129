"""The load of `wrk`, where it is installed, by the same measure as `benchmarks.load`.

One thread of C: it leaves the server more of the cores than a client in Python does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks import load
from benchmarks.load import Load


_SCRIPT = Path(__file__).with_name("wrk.lua")

#: After a warm-up: until what its clients left behind in a queue has been worked off.
_REST_S = 0.5


def tool() -> str:
    """Name what bears the load."""
    return "wrk, one thread" if shutil.which("wrk") else "benchmarks.load"


def measure(
    url: str, body: object, *, clients: int, seconds: float = 2.0, warmup_s: float = 0.5
) -> Load:
    """Load a URL with POSTs after a warm-up, by `wrk`, or by `benchmarks.load` without it."""
    if shutil.which("wrk") is None:
        return load.measure(url, body, clients=clients, seconds=seconds, warmup_s=warmup_s)
    if warmup_s:
        _run(url, body, clients=clients, seconds=warmup_s)
        time.sleep(_REST_S)
    figures = _run(url, body, clients=clients, seconds=seconds)
    return Load(clients=clients, **figures)  # type: ignore[arg-type]  # the script's own keys


def _run(url: str, body: object, *, clients: int, seconds: float) -> dict[str, float]:
    """Run once, for whole seconds: `wrk` knows no others."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    result = subprocess.run(
        [*command, "--latency", "-s", str(_SCRIPT), url],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "WRK_BODY": json.dumps(body)},
        timeout=seconds + 60,
    )
    figures: dict[str, float] = json.loads(result.stdout.rstrip().rsplit("\n", 1)[-1])
    return figures
