"""`torchloom torchserve` and `torchloom dev` as processes of their own, for tests that ask them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from benchmarks.server import free_port


#: Names of what listens, in the order of the ports that are given back.
_PROPERTIES = (
    *(f"{name}_address=http://127.0.0.1:{{}}" for name in ("inference", "management", "metrics")),
    *(f"grpc_{name}_port={{}}" for name in ("inference", "management")),
)

#: Writes `config.properties` with free ports and more lines; gives the ports: three of HTTP, then
#: two of gRPC.
Configure = Callable[..., list[int]]

#: Starts a server in a folder, with these words and variables; it is killed at the end.
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]


@pytest.fixture(scope="session")
def configure() -> Configure:
    """Configure a server that shares no port with any other."""
    return _configure


@pytest.fixture(scope="session")
def start() -> Start:
    """Start a server, as scripts do: wait for its one line."""
    return _start


def _configure(folder: Path, *lines: str) -> list[int]:
    ports = [free_port() for _ in _PROPERTIES]
    own = [line.format(port) for line, port in zip(_PROPERTIES, ports, strict=True)]
    (folder / "config.properties").write_text("\n".join([*own, *lines]))
    return ports


@contextmanager
def _start(
    folder: Path, words: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    program = [sys.executable, "-m", "torchloom_api.cli", "torchserve", "--start", "--foreground"]
    (folder / "temp").mkdir()
    with (folder / "stderr").open("w") as log:
        process = subprocess.Popen(
            [*program, *words.split(), "--ts-config", "config.properties"],
            cwd=folder,
            env={**os.environ, "TEMP": str(folder / "temp"), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        is_up = "Model server started.\n" in process.stdout  # lines of the log come before it
        assert is_up, (folder / "stderr").read_text()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dev:
    """A `torchloom dev` that serves, and what it has told."""

    process: subprocess.Popen[str]
    client: httpx.Client
    log: Path

    def ask(self, body: str = "hi", path: str = "/predictions/handler") -> httpx.Response:
        """Ask the handler."""
        return self.client.post(path, content=body.encode())

    def read(self, text: str) -> str:
        """Give what it has told, once a text is in it."""
        for _ in range(6000):
            told = self.log.read_text()
            if text in told:
                return told
            time.sleep(0.01)
        raise AssertionError(f"{text!r} is not in {told}")


#: Starts `torchloom dev WORDS` in a folder; it must end by Ctrl-C, with code 0.
StartDev = Callable[..., AbstractContextManager[Dev]]


@pytest.fixture(scope="session")
def start_dev() -> StartDev:
    """Start one, as its users do."""
    return _start_dev


@contextmanager
def _start_dev(folder: Path, *words: str) -> Iterator[Dev]:
    log = folder.with_name(f"{folder.name}.log")
    program = [sys.executable, "-m", "torchloom_api.cli", "dev", *words, "--port=0"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            program,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            process_group=0,
        )
    try:
        assert process.stdout is not None
        found = re.search(r"curl (http://[\d.:]+)/predictions", process.stdout.readline())
        assert found is not None, log.read_text()
        with httpx.Client(base_url=found[1], timeout=120) as client:
            yield Dev(process=process, client=client, log=log)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
