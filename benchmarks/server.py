"""A TorchLoom server for a benchmark: started as users start it, and ended. Knows no model."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx


_START_TIMEOUT_S = 300.0


RAG = Path(__file__).parents[1] / "examples" / "rag"

_TORCHLOOM = (sys.executable, "-m", "torchloom_api.cli")


def build_rag_index() -> None:
    """Build the index of the RAG example anew."""
    subprocess.run([*_TORCHLOOM, "index", "build", str(RAG / "rag.yaml")], check=True)


def free_port() -> int:
    """Give a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """`torchloom serve FILES`, as a context; `ready_s` is how long it took to be ready."""

    def __init__(
        self, *files: Path, store: Path | None = None, environment: dict[str, str] | None = None
    ) -> None:
        self._files = files
        self._folder = tempfile.TemporaryDirectory() if store is None else None
        self._store = store or Path(self._folder.name)  # type: ignore[union-attr]  # made just above
        self._environment = environment
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ready_s = 0.0

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        began = time.perf_counter()
        address = ["--port", str(self.port), "--store", str(self._store)]
        self._process = subprocess.Popen(
            [*_TORCHLOOM, "serve", *map(str, self._files), *address],
            stdout=subprocess.DEVNULL,
            env=self._environment,
        )
        while not self._is_ready():
            if self._process.poll() is not None:
                raise RuntimeError(f"The server ended with exit code {self._process.returncode}.")
            if time.perf_counter() - began > _START_TIMEOUT_S:
                self._process.kill()
                raise RuntimeError("The server was not ready in time.")
            time.sleep(0.05)
        self.ready_s = time.perf_counter() - began
        return self

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/health/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)
        if self._folder is not None:
            self._folder.cleanup()
