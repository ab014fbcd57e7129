"""What becomes of workers of several processes where one of these dies, hangs or does not load."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.groups import SPLIT_LINEAR, UNEVEN, GroupServer, is_alive, launcher_of


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]

WORDS = "--ncs --model-store models --models split.mar --disable-token-auth --enable-model-api"


@contextmanager
def serve(
    folder: Path, configure: Configure, start: Start
) -> Iterator[tuple[GroupServer, subprocess.Popen[str]]]:
    """Start a server with a model whose worker is two processes."""
    (folder / "models").mkdir()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300))
            for port in configure(folder)[:2]
        ]
        running = GroupServer(folder=folder, inference=clients[0], management=clients[1])
        running.make("split", SPLIT_LINEAR)
        yield running, stack.enter_context(start(folder, WORDS))


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, configure: Configure, start: Start
) -> Iterator[GroupServer]:
    """Give a server for all tests that leave it as it was."""
    with serve(tmp_path_factory.mktemp("torchserve"), configure, start) as (running, _):
        yield running


def pids_in(folder: Path) -> list[int]:
    """Give the processes that have begun to load `UNEVEN`."""
    return [int(file.name.removeprefix("pid-")) for file in folder.glob("pid-*")]


@pytest.mark.parametrize("victim", ["rank 1", "rank 0", "torchrun"])
def test_is_started_anew_as_a_whole(running: GroupServer, victim: str) -> None:
    """Whichever process is killed, all of the worker are others then, and there are no more."""
    before = running.pids("split")
    launcher = launcher_of(before[0])
    psutil.Process({"rank 1": before[1], "rank 0": before[0]}.get(victim, launcher)).kill()
    assert not any(is_alive(pid) for pid in (*before, launcher))
    running.wait_up("split")
    after = running.pids("split")

    assert not {*before, launcher} & {*after, launcher_of(after[0])}


def test_kills_a_worker_of_which_one_process_hangs(running: GroupServer) -> None:
    """The first one waits for it: that is no answer within `responseTimeout`."""
    running.make("stuck", SPLIT_LINEAR, responseTimeout=3)
    assert running.register("stuck").status_code == 200
    before = running.pids("stuck")
    answer = running.inference.post("/predictions/stuck", content="[99, 0, 0, 0]")
    running.wait_up("stuck")
    after = running.pids("stuck")
    running.management.delete("/models/stuck")

    assert (answer.status_code, answer.json()["message"]) == (500, "Worker died.")
    assert not {*before} & {*after}
    assert not any(is_alive(pid) for pid in before)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(("what", "status"), [("raise", 500), ("hang", 500), ("be killed", 507)])
def test_is_not_registered_where_one_process_does_not_load(
    running: GroupServer, tmp_path: Path, rank: int, what: str, status: int
) -> None:
    """Though the other one waits for it; nothing is left of the model, nor of its processes.

    One that is killed is taken for one that had no memory.
    """
    wish = {"rank": rank, "what": what, "folder": str(tmp_path)}
    limit_s = 20 if what == "hang" else 120
    running.make("uneven", UNEVEN, {"handler": wish}, startupTimeout=limit_s)
    answer = running.register("uneven")

    assert answer.status_code == status
    assert answer.json()["message"] == "Failed to start workers for model uneven version: 1.0"
    assert running.management.get("/models/uneven").status_code == 404
    pids = pids_in(tmp_path)
    assert pids
    assert not any(is_alive(pid) for pid in pids)
    if what == "raise":
        running.log("no disk on this one")


def test_tells_why_torchrun_starts_nothing(running: GroupServer) -> None:
    """What it does not like, by its own words."""
    running.make("odd", SPLIT_LINEAR, torchrun={"nproc-per-node": 2, "rdzv-backend": "pigeons"})
    assert running.register("odd").status_code == 500
    running.log("torchrun did not start the processes of a worker; the log says more: ValueError")


def test_starts_again_where_a_start_has_hung(running: GroupServer, tmp_path: Path) -> None:
    """A worker that does not come back within `startupTimeout` is killed, and started once more."""
    wish = {"rank": 1, "what": "hang once", "folder": str(tmp_path)}
    running.make("again", UNEVEN, {"handler": wish}, startupTimeout=15)
    assert running.register("again").status_code == 200
    before = pids_in(tmp_path)
    (tmp_path / "hang").touch()
    psutil.Process(before[0]).kill()
    assert not any(is_alive(pid) for pid in before)
    running.wait_up("again")
    assert not (tmp_path / "hang").exists()
    after = running.inference.post("/predictions/again", content="[1]").json()
    running.management.delete("/models/again")

    pids = pids_in(tmp_path)
    assert after in {*pids} - {*before}
    assert len(pids) >= 6  # two processes each time: at first, as it hung, and at last
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_leaves_no_process_behind_when_the_server_ends(
    tmp_path: Path, configure: Configure, start: Start, how: signal.Signals
) -> None:
    """However it ends; to the process group of a terminal or a supervisor, too."""
    with serve(tmp_path, configure, start) as (running, server):
        pids = running.pids("split")
        everybody = [*pids, launcher_of(pids[0])]
        assert {*everybody} <= {p.pid for p in psutil.Process(server.pid).children(recursive=True)}
        server.send_signal(how)
        reader = threading.Thread(target=server.communicate)  # so that a full pipe stops nothing
        reader.start()
        server.wait()
        reader.join()
        assert not any(is_alive(pid) for pid in everybody)


def test_ends_as_asked_where_the_whole_group_is_told_to(
    tmp_path: Path, configure: Configure, start: Start
) -> None:
    """What is in hand when SIGTERM reaches all processes at once is answered all the same."""
    with serve(tmp_path, configure, start) as (running, server):
        pids = running.pids("split")
        for pid in (*pids, launcher_of(pids[0])):
            psutil.Process(pid).terminate()
        assert running.pids("split") == pids
        assert server.poll() is None
