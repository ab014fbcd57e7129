"""`torchloom torchserve` that is ended, or must end, while its models are still being loaded.

And one whose model does not load, from one start to the next.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psutil
import pytest


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.archives import make_mar


pytestmark = pytest.mark.slow

STUCK = """\
import time
from pathlib import Path


class Stuck:
    def initialize(self, context):
        Path("{begun}").touch()
        time.sleep(600)

    def handle(self, data, context):
        return data
"""


MENDABLE = """\
from pathlib import Path


class Mendable:
    def initialize(self, context):
        if not Path("{mended}").exists():
            raise RuntimeError("no luck")

    def handle(self, data, context):
        return ["fine"] * len(data)
"""


def _launch(folder: Path) -> subprocess.Popen[str]:
    """Start a server whose one model never ends to load, in a process group of its own."""
    (folder / "models").mkdir()
    files = {"stuck.py": STUCK.format(begun=folder / "begun")}
    make_mar(folder / "models", "stuck", "stuck.py", files)
    (folder / "temp").mkdir()
    words = "--model-store models --models stuck.mar --ncs --ts-config config.properties"
    return subprocess.Popen(
        [sys.executable, "-m", "torchloom_api.cli", "torchserve", "--foreground", *words.split()],
        cwd=folder,
        env={**os.environ, "TEMP": str(folder / "temp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a server, and give what it has printed."""
    try:
        return process.communicate(timeout=60)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _archives(folder: Path) -> list[Path]:
    """Give what is still unpacked."""
    return list((folder / ".torchloom" / "archives").glob("*"))


def _left(group: int) -> list[psutil.Process]:
    """Give the processes of a group, once those that end with it have had the time."""
    found = [each for each in psutil.process_iter() if _group_of(each) == group]
    return psutil.wait_procs(found, timeout=10)[1]


def _group_of(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def test_leaves_no_worker_where_a_port_is_taken(
    configure: Callable[..., list[int]], tmp_path: Path
) -> None:
    """Ports of gRPC's are looked at before anything loads: none has begun, and nothing is left."""
    *_, grpc_port = configure(tmp_path, "default_workers_per_model=1")
    with socket.create_server(("127.0.0.1", grpc_port)):
        process = _launch(tmp_path)
        said = _end(process)

    assert process.returncode == 1
    assert str(grpc_port) in said
    assert not (tmp_path / "begun").exists()
    assert _left(process.pid) == []
    assert _archives(tmp_path) == []
    assert list((tmp_path / "temp").iterdir()) == []


def test_ends_while_it_loads(configure: Callable[..., list[int]], tmp_path: Path) -> None:
    """A signal ends a server whose model is still being loaded, and the worker with it."""
    configure(tmp_path, "default_workers_per_model=1")
    process = _launch(tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    _end(process)

    assert (tmp_path / "begun").exists()
    assert process.returncode == 0
    assert _left(process.pid) == []


def test_tries_a_model_again_after_a_restart(
    configure: Callable[..., list[int]],
    start: Callable[..., AbstractContextManager[subprocess.Popen[str]]],
    tmp_path: Path,
) -> None:
    """A model that has never loaded is in the snapshot, and comes by itself once it can."""
    inference, *_ = configure(
        tmp_path, "default_workers_per_model=1", "disable_token_authorization=true"
    )
    (tmp_path / "models").mkdir()
    mendable = MENDABLE.format(mended=tmp_path / "mended")
    make_mar(tmp_path / "models", "mendable", "mendable.py", {"mendable.py": mendable})
    address = f"http://127.0.0.1:{inference}"
    with start(tmp_path, "--model-store models --models mendable.mar") as process:
        first = httpx.get(f"{address}/ping").status_code
        process.terminate()
        process.wait(60)
    (tmp_path / "temp").rmdir()
    (snapshot,) = (tmp_path / "logs" / "config").glob("*-shutdown.cfg")
    snapshot.replace(tmp_path / "config.properties")
    with start(tmp_path, "--model-store models"):
        second = httpx.get(f"{address}/ping").status_code
        (tmp_path / "mended").touch()
        deadline = time.monotonic() + 60
        while httpx.get(f"{address}/ping").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        answer = httpx.post(f"{address}/predictions/mendable", content=b"x")

    assert (first, second) == (500, 500)
    assert (answer.status_code, answer.text) == (200, "fine")
