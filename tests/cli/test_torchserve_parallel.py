"""`torchloom torchserve` with workers of several processes: real ones, by torchrun, over gloo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.archives import make_mar


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]

#: Written as handlers of large models are: each process holds a part, and all of them add up.
ADDER = """\
import os

import torch
import torch.distributed as dist

from ts.torch_handler.base_handler import BaseHandler


class Adder(BaseHandler):
    def initialize(self, context):
        dist.init_process_group("gloo")
        self.rank = dist.get_rank()
        assert int(os.environ["LOCAL_RANK"]) == self.rank
        pids = [None] * dist.get_world_size()
        dist.all_gather_object(pids, os.getpid())
        self.pids = pids

    def handle(self, data, context):
        numbers = [float(row.get("body") or row.get("data")) for row in data]
        if self.rank == 1 and numbers[0] == 13:
            raise ValueError("an unlucky number")
        share = torch.tensor(numbers) * (self.rank + 1)
        if numbers[0] != 13:
            dist.all_reduce(share)
        return [
            {"sum": value, "pids": self.pids, "rank": self.rank, "threads": torch.get_num_threads()}
            for value in share.tolist()
        ]
"""

BROKEN = """\
import os

import torch.distributed as dist


class Broken:
    def initialize(self, context):
        if os.environ["RANK"] == "1":
            raise OSError("no disk on this one")
        dist.init_process_group("gloo")

    def handle(self, data, context):
        return data
"""

CONFIG = """\
minWorkers: 1
maxWorkers: 1
batchSize: 4
maxBatchDelay: 50
parallelType: {}
parallelLevel: 2
deviceType: {}
torchrun:
  nproc-per-node: 2
  OMP_NUMBER_THREADS: 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is up."""

    folder: Path
    inference: httpx.Client
    management: httpx.Client

    def add(self, number: float) -> dict[str, object]:
        """Ask the model for a sum."""
        answer = self.inference.post("/predictions/adder", content=str(number))
        found: dict[str, object] = answer.raise_for_status().json()
        return found

    def add_when_up(self, number: float) -> dict[str, object]:
        """Ask it until its worker, some of which has been killed, is there again."""
        while self.inference.post("/predictions/adder", content="1").status_code == 503:
            pass
        return self.add(number)

    def make(self, name: str, handler: str, kind: str, device: str = "cpu") -> None:
        """Write an archive into the model store."""
        files = {f"{name}.py": handler, "model-config.yaml": CONFIG.format(kind, device)}
        make_mar(self.folder / "models", name, f"{name}.py", files)


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process, which may be about to end."""
    for _ in range(3000):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, configure: Configure, start: Start
) -> Iterator[Running]:
    """Start a server with a model whose worker is two processes."""
    folder = tmp_path_factory.mktemp("torchserve")
    (folder / "models").mkdir()
    ports = configure(folder)
    clients = [httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) for port in ports[:2]]
    running = Running(folder=folder, inference=clients[0], management=clients[1])
    running.make("adder", ADDER, "tp")
    words = "--ncs --model-store models --models adder.mar --disable-token-auth --enable-model-api"
    with start(folder, words), clients[0], clients[1]:
        yield running


def test_works_on_a_request_in_all_processes(running: Running) -> None:
    """Each has its rank and its threads; the first one answers."""
    answer = running.add(5)
    pids = answer["pids"]
    assert isinstance(pids, list)

    assert (answer["sum"], answer["rank"], answer["threads"]) == (15.0, 0, 1)
    assert len({*pids, os.getpid()}) == 3


def test_is_started_anew_as_a_whole(running: Running) -> None:
    """Whichever process dies, all of the worker are others then."""
    for place in (1, 0):
        before = running.add(1)["pids"]
        assert isinstance(before, list)
        os.kill(before[place], signal.SIGKILL)
        after = running.add_when_up(2)
        assert after["sum"] == 6.0
        assert not {*before} & {*after["pids"]}  # type: ignore[misc]  # a list of numbers
        assert not any(is_alive(pid) for pid in before)


def test_goes_on_where_one_process_alone_has_raised(running: Running) -> None:
    """The first one's answer counts; no row is left behind for the next request."""
    assert running.add(13)["sum"] == 13.0
    assert running.add(4)["sum"] == 12.0


def test_tells_why_one_process_does_not_load(running: Running) -> None:
    """Though the first one waits for it; nothing of the model is left."""
    running.make("broken", BROKEN, "tp")
    answer = running.management.post("/models?url=broken.mar&initial_workers=1")

    assert answer.status_code == 500
    assert answer.json()["message"] == "Failed to start workers for model broken version: 1.0"
    assert running.management.get("/models/broken").status_code == 404
    assert "no disk on this one" in (running.folder / "logs" / "ts_log.log").read_text()


def test_needs_as_many_gpus(running: Running) -> None:
    """Where the archive asks for some, and this machine has not enough."""
    config = CONFIG.format("pptp", "gpu").replace(": 2", ": 64")
    files = {"large.py": ADDER, "model-config.yaml": config}
    make_mar(running.folder / "models", "large", "large.py", files)
    answer = running.management.post("/models?url=large.mar")

    assert (answer.status_code, answer.json()) == (
        500,
        {
            "code": 500,
            "type": "WorkerInitializationException",
            "message": "No enough gpu devices for model:large parallelLevel:64",
        },
    )


def test_leaves_no_process_behind(running: Running) -> None:
    """Of a model that is removed."""
    pids = running.add(1)["pids"]
    assert isinstance(pids, list)
    answer = running.management.delete("/models/adder")

    assert answer.status_code == 200
    assert not any(is_alive(pid) for pid in pids)
