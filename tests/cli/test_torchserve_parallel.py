"""`torchloom torchserve` with workers of several processes: real ones, by torchrun, over gloo."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.groups import DEEPSPEED, PIPELINE, PLACE, SPLIT_LINEAR, TIDY, GroupServer, is_alive

from benchmarks.server import free_port


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]

#: What torchrun sets for each process, and handlers read.
RENDEZVOUS = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}

#: What somebody runs by hand on a second machine: it takes its place beside the server's processes.
ELSEWHERE = """\
import sys
import torch.distributed as dist

dist.init_process_group("gloo")
dist.barrier()
print("in", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, configure: Configure, start: Start
) -> Iterator[GroupServer]:
    """Start a server with a model whose worker is two processes."""
    folder = tmp_path_factory.mktemp("torchserve")
    (folder / "models").mkdir()
    ports = configure(folder)
    clients = [httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) for port in ports[:2]]
    running = GroupServer(folder=folder, inference=clients[0], management=clients[1])
    running.make("split", SPLIT_LINEAR)
    words = "--ncs --model-store models --models split.mar --disable-token-auth --enable-model-api"
    with start(folder, words), clients[0], clients[1]:
        yield running


def test_works_on_a_request_in_all_processes(running: GroupServer) -> None:
    """Each holds a part of the model, and has its threads; the first one answers."""
    answer = running.ask("split", "[1, 2, 3, 4]")
    pids = answer["pids"]
    assert isinstance(pids, list)

    assert answer["y"] == [20.5, 61.5, 102.5]
    assert (answer["rank"], answer["threads"]) == (0, 1)
    assert len({*pids, os.getpid()}) == 3


def test_goes_on_where_one_process_alone_has_raised(running: GroupServer) -> None:
    """The first one's answer counts; no row is left behind for the next request."""
    assert running.ask("split", "[13, 0, 0, 0]")["y"] == [13, 0, 0, 0]
    assert running.ask("split", "[1, 0, 0, 0]")["y"] == [0.5, 5.5, 10.5]


def test_describes_what_it_is(running: GroupServer) -> None:
    """As TorchServe does."""
    (model,) = running.management.get("/models/split").json()

    assert (model["parallelType"], model["parallelLevel"], model["deviceType"]) == ("tp", 2, "cpu")


@pytest.mark.parametrize(
    ("torchrun", "threads"),
    [
        ({"OMP_NUMBER_THREADS": 3, "monitor-interval": 5}, "3"),
        ({"rdzv-backend": "static", "master-addr": "127.0.0.1", "master-port": 0}, None),
        ({"rdzv-backend": "c10d", "rdzv-endpoint": "127.0.0.1:0", "rdzv-conf": "timeout=60"}, None),
    ],
)
def test_starts_as_torchrun_is_told(
    running: GroupServer, torchrun: dict[str, object], threads: str | None
) -> None:
    """A port 0 stands for a free one here."""
    said = {key: free_port() if key == "master-port" else v for key, v in torchrun.items()}
    if "rdzv-endpoint" in said:
        said["rdzv-endpoint"] = f"127.0.0.1:{free_port()}"
    running.make("place", PLACE, torchrun={"nproc-per-node": 2, **said})
    assert running.register("place").status_code == 200
    place = running.ask("place")
    running.management.delete("/models/place")

    assert place.keys() >= RENDEZVOUS
    assert (place["LOCAL_RANK"], place["WORLD_SIZE"], place["gpu_id"]) == ("0", "2", None)
    assert threads is None or place["OMP_NUM_THREADS"] == threads
    if "master-port" in said:
        assert place["MASTER_PORT"] == str(said["master-port"])


def test_lets_workers_share_an_endpoint(running: GroupServer) -> None:
    """Their processes meet there, each worker's its own."""
    endpoint = f"127.0.0.1:{free_port()}"
    torchrun = {"nproc-per-node": 2, "rdzv-endpoint": endpoint}
    running.make("shared", PLACE, {"minWorkers": 2}, torchrun=torchrun)
    answer = running.management.post("/models?url=shared.mar&initial_workers=2")
    assert answer.status_code == 200, answer.text

    (model,) = running.management.get("/models/shared").json()
    assert [worker["status"] for worker in model["workers"]] == ["READY", "READY"]
    assert running.ask("shared")["WORLD_SIZE"] == "2"
    assert running.management.delete("/models/shared").status_code == 200


def test_works_with_processes_elsewhere(running: GroupServer, tmp_path: Path) -> None:
    """Whoever says `nnodes` starts the others by hand: the server knows those of its machine."""
    rendezvous = {"nnodes": 2, "rdzv-endpoint": f"127.0.0.1:{free_port()}", "rdzv-id": "both"}
    running.make("wide", PLACE, torchrun={"nproc-per-node": 2, **rendezvous})
    script = tmp_path / "elsewhere.py"
    script.write_text(ELSEWHERE)
    options = [f"--{key}={value}" for key, value in rendezvous.items()]
    command = [sys.executable, "-m", "torch.distributed.run", *options, "--rdzv-backend=c10d"]
    with subprocess.Popen(
        [*command, "--nproc-per-node=1", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        try:
            assert running.register("wide").status_code == 200
            assert other.stdout is not None
            assert other.stdout.readline() == "in\n"
            place = running.ask("wide")
        finally:
            running.management.delete("/models/wide")
            other.kill()

    assert (place["LOCAL_RANK"], place["LOCAL_WORLD_SIZE"], place["WORLD_SIZE"]) == ("0", "2", "3")


def test_lets_the_first_process_call_the_others(running: GroupServer) -> None:
    """Of a pipeline it alone is called; `BasePippyHandler` lets them reach each other."""
    running.make("pipeline", PIPELINE, parallelType="pp")
    assert running.register("pipeline").status_code == 200
    answers = [running.ask("pipeline", f"[{number}, 0]") for number in range(3)]
    assert running.management.delete("/models/pipeline").status_code == 200
    pids = answers[0]["pids"]
    assert isinstance(pids, list)

    assert [answer["y"] for answer in answers] == [[1, 1], [3, 1], [5, 1]]
    assert len({*pids}) == 2
    assert not any(is_alive(pid) for pid in pids)


def test_names_a_package_that_is_not_installed(running: GroupServer) -> None:
    """Where a handler is made for it, and the server has not got it."""
    running.make("speedy", DEEPSPEED, {"deepspeed": {}})
    assert running.register("speedy").status_code == 500
    running.log("needs the package deepspeed, which is not installed here")


def test_is_one_process_where_it_is_custom(running: GroupServer) -> None:
    """Which starts others by itself, if it wants any: there is no torchrun."""
    running.make("custom", PLACE, parallelType="custom", parallelLevel=2, torchrun={})
    assert running.register("custom").status_code == 200
    place = running.ask("custom")

    assert not {*RENDEZVOUS} & place.keys()
    (model,) = running.management.get("/models/custom").json()
    assert (model["parallelType"], model["parallelLevel"]) == ("custom", 2)
    assert [worker["pid"] for worker in model["workers"]] == [place["pid"]]
    running.management.delete("/models/custom")


def test_is_on_the_cpu_where_there_is_no_gpu(running: GroupServer) -> None:
    """Whatever the archive asks for, and however many."""
    running.make("wants", PLACE, deviceType="gpu")
    assert running.register("wants").status_code == 200
    (model,) = running.management.get("/models/wants").json()
    place = running.ask("wants")
    running.management.delete("/models/wants")

    assert (model["deviceType"], model["parallelLevel"]) == ("cpu", 2)
    assert place["gpu_id"] is None


def test_lets_each_process_end_by_itself(running: GroupServer, tmp_path: Path) -> None:
    """Whichever ends first, when they are asked to, the others may put away what they have."""
    file = tmp_path / "put away"
    running.make("tidy", TIDY, {"handler": {"file": str(file)}})
    assert running.register("tidy").status_code == 200
    assert running.management.delete("/models/tidy").status_code == 200

    assert file.exists()


def test_leaves_no_process_behind(running: GroupServer) -> None:
    """Of a worker that is taken away, and of a model that is removed."""
    before = running.pids("split")
    path = "/models/split?synchronous=true&min_worker="
    assert running.management.put(f"{path}0&max_worker=4").status_code == 200
    assert not any(is_alive(pid) for pid in before)
    assert running.management.put(f"{path}1&max_worker=4").status_code == 200
    after = running.pids("split")
    assert running.management.delete("/models/split").status_code == 200

    assert not {*before} & {*after}
    assert not any(is_alive(pid) for pid in after)
