"""The environment of a worker's process, and what it says of threads. Starts no process."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from torchloom.placement import CoreShare


#: How many threads are run where something is worked out on cores.
_OMP_THREADS: Final = "OMP_NUM_THREADS"
_MKL_THREADS: Final = "MKL_NUM_THREADS"

#: What it holds unless ours says otherwise.
#:
#: Workers share cores, so a thread that waits for work must sleep soon. Not at once: with a waking
#: for each of the many short loops of a step, small models took 1.4 times as long. GOMP spins this
#: often (some microseconds) first.
#:
#: Every step frees what the next one needs again. glibc would give memory back to the system in
#: between and fault it in anew, which took 3 to 10 % of a small model's step. Up to 32 MiB it obeys
#: everywhere.
WORKER_DEFAULTS: Final[Mapping[str, str]] = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "5000",
    "TOKENIZERS_PARALLELISM": "false",
}


def said_threads(environment: Mapping[str, str], name: str = _OMP_THREADS) -> int | None:
    """Give the number of threads that an environment asks for; None where it says none."""
    text = environment.get(name, "").strip()
    return (int(text) or None) if text.isdecimal() else None


def worker_environment(
    threads: int | None, share: CoreShare, hidden: re.Pattern[str] | None = None
) -> dict[str, str]:
    """Give a worker ours, but for what `hidden` matches as a whole, with its threads and cores.

    A number of `threads` that its model file says comes first, then ours, then as many as its
    share of the cores.
    """
    shown = {k: v for k, v in os.environ.items() if hidden is None or not hidden.fullmatch(k)}
    said = shown if threads is None else {}
    omp = said_threads(said) or share.threads
    mkl = said_threads(said, _MKL_THREADS) or omp
    fixed = {_OMP_THREADS: str(omp), _MKL_THREADS: str(mkl)}
    if share.cores:
        fixed["TORCHLOOM_CORES"] = ",".join(str(core) for core in share.cores)
    return {**WORKER_DEFAULTS, **shown, **fixed}
