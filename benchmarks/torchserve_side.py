"""A server behind TorchServe's command line, as a context: TorchServe, or `torchloom torchserve`.

Both are started by the same words and the same `config.properties`, each in a folder and on ports
of its own. Knows no model and no figure.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

from benchmarks.server import free_port


#: What starts TorchLoom behind TorchServe's command line.
TORCHLOOM = (sys.executable, "-m", "torchloom_api.cli", "torchserve")

_START_TIMEOUT_S = 120.0
_END_S = 30.0


class Side:
    """One running server. `ready_s` is how long the start took until `path` was answered by 200.

    Tokens and snapshots are off and the model API is on unless `words` are given; `properties` are
    added to `config.properties`. With `scheme` https, ports speak TLS.
    """

    def __init__(  # noqa: PLR0913 - all that a server may be told
        self,
        command: Sequence[str],
        folder: Path,
        *,
        store: Path,
        models: Sequence[str] = (),
        path: str | None = None,
        body: object = 1,
        words: Sequence[str] = ("--ncs", "--disable-token-auth", "--enable-model-api"),
        properties: Mapping[str, object] | None = None,
        scheme: str = "http",
    ) -> None:
        self._command = command
        self._store, self._models, self._words = store, models, words
        self._path, self._body = path, body
        self._properties = properties or {}
        self.folder = folder
        ports = [free_port() for _ in range(5)]
        self.urls = {
            name: f"{scheme}://127.0.0.1:{port}"
            for name, port in zip(("inference", "management", "metrics"), ports, strict=False)
        }
        #: Those of inference and management, over gRPC.
        self.grpc_addresses = [f"127.0.0.1:{port}" for port in ports[3:]]
        self._grpc = ports[3:]
        self.ready_s = 0.0

    @property
    def url(self) -> str:
        """Give the inference port's address."""
        return self.urls["inference"]

    def __enter__(self) -> Self:
        """Start it and wait until it answers; on a failure, end it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        config = self.folder / "config.properties"
        config.write_text(self._write_properties(), "utf-8")
        words = ["--start", "--foreground", "--model-store", str(self._store)]
        words += ["--workflow-store", str(self._store), "--ts-config", str(config), *self._words]
        words += ["--models", *self._models] if self._models else []
        began = time.perf_counter()
        self.log = self.folder / "output.txt"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [*self._command, *words],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait(began)
        except BaseException:
            self.end()
            raise
        self.ready_s = time.perf_counter() - began
        return self

    def _write_properties(self) -> str:
        given = {
            **{f"{name}_address": url for name, url in self.urls.items()},
            "grpc_inference_port": self._grpc[0],
            "grpc_management_port": self._grpc[1],
            "default_workers_per_model": 1,
            **self._properties,
        }
        return "".join(f"{name}={value}\n" for name, value in given.items())

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TS_")}
        # What pip installs has its bytecode; what is run out of a clone gets it at its first start.
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        binaries = f"{Path(self._command[0]).parent}{os.pathsep}{kept.get('PATH', '')}"
        return {
            **kept,
            "PATH": binaries,
            "TEMP": str(self.folder / "tmp"),
            "LOG_LOCATION": str(self.folder / "logs"),
            "METRICS_LOCATION": str(self.folder / "logs"),
        }

    def _wait(self, began: float) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._is_ready(client):
                if self._process.poll() is not None:
                    raise RuntimeError(f"The server ended: {self.last_words()}")
                if time.perf_counter() - began > _START_TIMEOUT_S:
                    raise RuntimeError(f"The server was not ready in time: {self.last_words()}")
                time.sleep(0.01)

    def _is_ready(self, client: httpx.Client) -> bool:
        if self._path is None:
            return b"Model server started." in self.log.read_bytes()
        with contextlib.suppress(httpx.TransportError):
            answer = client.post(f"{self.url}{self._path}", json=self._body)
            return answer.status_code == httpx.codes.OK
        return False

    def last_words(self) -> str:
        """Give the end of what it has printed."""
        return self.log.read_text("utf-8", "replace")[-2000:]

    def processes(self) -> list[psutil.Process]:
        """Give the server's processes, all of them."""
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def memory_mib(self) -> float:
        """Give the proportional memory of all its processes: shared pages are shared out."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total / 2**20

    def find_worker(self, model: str) -> psutil.Process:
        """Give the first worker of a model. Raises RuntimeError where that is no process of ours.

        The management port says which it is, and of a worker that is not up yet TorchServe says
        -1, which to `kill` means every process of the machine: so it is looked for among the
        server's own.
        """
        about = httpx.get(f"{self.urls['management']}/models/{model}").raise_for_status().json()
        pid = about[0]["workers"][0]["pid"]
        ours = {process.pid: process for process in self.processes()[1:]}
        if pid not in ours:
            raise RuntimeError(f"The first worker of {model!r} has pid {pid}: no process of ours.")
        return ours[pid]

    def wait_for_workers(self, model: str, count: int) -> None:
        """Wait until so many workers of a model are ready."""
        end = time.perf_counter() + _START_TIMEOUT_S
        while time.perf_counter() < end:
            about = httpx.get(f"{self.urls['management']}/models/{model}").raise_for_status().json()
            workers = about[0]["workers"]
            if sum(worker["status"] == "READY" for worker in workers) >= count:
                return
            time.sleep(0.05)
        raise RuntimeError(f"{model!r} has not {count} ready workers: {self.last_words()}")

    def end(self) -> None:
        """End it, and whatever it has started."""
        processes = self.processes() if self._process.poll() is None else []
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        _, left = psutil.wait_procs(processes, _END_S)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(_END_S)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.end()
