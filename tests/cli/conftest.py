"""`torchloom torchserve` as a process of its own, for tests that ask it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

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
