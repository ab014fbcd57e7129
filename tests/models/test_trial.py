"""Trials in real processes: what they tell, how they end, and what they leave behind: nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from model_fakes.openings import read_notes

from torchloom.channel import Hangup
from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.errors import InvalidModel, ModelLoadError
from torchloom.wire import Open, encode
from torchloom_models.trial import Trial, TrialEnded, Verdict


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fakes_path")]

FAKE = "model_fakes.openings:FakeOpening"

CPU, UNIT, CUDA = Device("cpu"), Device("openvino", "CPU"), Device("cuda", "0")


def silent(what: str, fraction: float | None) -> None:
    """Report nothing."""


def hold(
    folder: Path,
    does: dict[str, object],
    *,
    report: Report = silent,
    candidates: Sequence[Device] = (),
    opening: str = FAKE,
) -> Verdict:
    """Hold a trial of what devices do, on all of them unless told otherwise."""
    config = {"folder": str(folder), "does": does}
    devices = [Device.parse(name) for name in does]
    return Trial(opening, config, 1, report=report).hold(candidates or devices)


def test_measures_in_another_process_and_tells(tmp_path: Path) -> None:
    """Figures, the dtype that the first has settled, progress, and who dropped out, and why."""
    told: list[tuple[str, float | None]] = []
    does = {"cuda:0": "raises", "cpu": 0.2, "openvino:CPU": 0.1, "openvino:GPU": "fails its task"}

    verdict = hold(tmp_path, does, report=lambda *what: told.append(what))

    assert verdict.over is not None
    assert verdict.over.figures == {"cpu": 0.2, "openvino:CPU": 0.1}
    assert verdict.over.left == ["cpu", "openvino:CPU"]
    assert verdict.over.dtype == "bfloat16"
    assert {device: repr(error) for device, error in verdict.lost.items()} == {
        "cuda:0": "ModelLoadError('RuntimeError: out of luck')",
        "openvino:GPU": "TaskFailed('it cannot')",
    }
    assert told[:2] == [("opening cuda:0", 0.5), ("opening cpu", 0.5)]
    assert ("measuring cpu, openvino:CPU", 0.5) in told
    notes = read_notes(tmp_path)
    (pid,) = {pid for _, _, pid in notes}
    assert pid != os.getpid()
    assert not psutil.pid_exists(pid)
    assert [device for verb, device, _ in notes if verb == "closed"] == [
        "openvino:GPU",
        "openvino:CPU",
        "cpu",
    ]


@pytest.mark.parametrize(
    ("does", "how"),
    [
        ("crashes", "SIGABRT"),
        ("ends", "exit code 3"),
        ("dies as it is measured", "SIGKILL"),
        ("crashes and leaves a child", "SIGABRT"),
    ],
)
def test_tells_at_which_device_it_died(
    tmp_path: Path, does: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that dropped out before have dropped out; this process goes on."""
    verdict = hold(tmp_path, {"cuda:0": "does not load", "openvino:CPU": does, "cpu": 0.1})

    assert verdict.over is None
    assert {device: str(error) for device, error in verdict.lost.items()} == {
        "cuda:0": "it does not load",
        "openvino:CPU": f"the trial ended by {how}",
    }
    assert isinstance(verdict.lost["openvino:CPU"], TrialEnded)
    assert f"The trial of devices ended by {how}, at openvino:CPU." in caplog.text


def test_opens_a_single_candidate_and_measures_nothing(tmp_path: Path) -> None:
    """Where the others have crashed, all there is to know is that this one opens."""
    verdict = hold(tmp_path, {"cpu": "fails its task"})

    assert verdict.over is not None
    assert (verdict.over.left, verdict.over.figures, verdict.lost) == (["cpu"], {}, {})


def test_raises_what_is_wrong_with_the_model(tmp_path: Path) -> None:
    """The type, the text and the faults are those of the trial; no other device is tried."""
    with pytest.raises(InvalidModel, match=r"^it is wrong$") as caught:
        hold(tmp_path, {"cpu": "is wrong", "openvino:CPU": 0.1})

    assert [str(fault) for fault in caught.value.faults] == ["3: here"]
    assert [device for _, device, _ in read_notes(tmp_path)] == ["cpu"]


def test_fails_where_the_trial_cannot_begin(tmp_path: Path) -> None:
    """A process that ends before it has opened anything says nothing of any device."""
    with pytest.raises(ModelLoadError, match="ended by exit code 1 before it opened any"):
        hold(tmp_path, {"cpu": 0.1}, opening="model_fakes.openings:Nothing")


def test_ends_with_whoever_listens(tmp_path: Path) -> None:
    """A worker whose scheduler has hung up leaves no trial behind."""

    def report(*_: object) -> None:
        raise Hangup

    with pytest.raises(Hangup):
        hold(tmp_path, {"cpu": 0.1, "openvino:CPU": 0.1}, report=report)
    assert not any(psutil.pid_exists(pid) for _, _, pid in read_notes(tmp_path))


def open_once_read(pipe: Path, worker: subprocess.Popen[bytes]) -> int:
    """Open the writing end of a pipe when somebody reads it; the worker must live until then."""
    while worker.returncode is None:
        with contextlib.suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(0.05)
    pytest.fail("The worker has ended.")


def test_goes_away_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    """So does the compiler that the trial has started: nothing computes on for nobody.

    Where memory runs out, the system takes the trial first.
    """
    os.mkfifo(tmp_path / "order.json")
    config = {"folder": str(tmp_path), "does": {"cpu": "compiles", "openvino:CPU": 0.1}}
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "torchloom.worker", str(theirs.fileno())]
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as worker:
        theirs.close()
        ours.sendall(encode(Open("model_fakes.openings:open_fake", config, "auto")))
        order = open_once_read(tmp_path / "order.json", worker)  # which the compiler waits for
        started = psutil.Process(worker.pid).children(recursive=True)
        first_to_go = Path(f"/proc/{started[0].pid}/oom_score_adj").read_text()
        worker.kill()
        _, alive = psutil.wait_procs(started, timeout=60)
        os.close(order)

    assert len(started) == 2
    assert alive == []
    assert int(first_to_go) == 1000
