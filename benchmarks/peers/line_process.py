"""A process that answers JSON lines with JSON lines: how peers and in-process sides are driven."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from torchloom.worker_environment import WORKER_DEFAULTS


class LineProcess:
    """`python -m MODULE ARGUMENTS`, as a context; it says it is ready with its first line.

    `ready_s` is how long that took.
    `threads` bounds what torch uses; left out, it takes all cores. The rest of the environment is
    that of a worker. `python` may be the interpreter of another environment.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        threads: int | None = None,
        python: str = sys.executable,
    ) -> None:
        self.module = module
        self._command = [python, "-m", module, *arguments]
        fixed = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.ready_s = 0.0
        self._environment = {**WORKER_DEFAULTS, **os.environ, **(fixed if threads else {})}

    def __enter__(self) -> Self:
        """Start it and wait for its first line."""
        began = time.perf_counter()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        self._read()
        self.ready_s = time.perf_counter() - began
        return self

    def ask(self, **order: object) -> dict[str, float]:
        """Send an order and give the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.module} ended with {self._process.wait()}.")
        answer: dict[str, float] = json.loads(line)
        return answer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it by ending its input."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself
            self._process.stdin.close()
        self._process.wait(60)
