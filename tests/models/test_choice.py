"""Which of several devices: decided by trials, said, kept."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.errors import DeviceUnavailable, InvalidModel, ModelLoadError, TorchLoomError
from torchloom_models import choice
from torchloom_models.choice import Contest, candidates_of
from torchloom_models.finding import FindingStore
from torchloom_models.trial import Over, TrialEnded, Verdict


pytestmark = pytest.mark.slow

CPU, OPENVINO = Device("cpu"), Device("openvino", "CPU")

CRASH = TrialEnded("the trial ended by SIGSEGV")


class Trials:
    """Holds trials that end as told: with what was measured, or by whom they were ended."""

    def __init__(self, **does: float | TorchLoomError) -> None:
        self.held: list[list[str]] = []
        self._does = does

    def hold(self, candidates: Sequence[Device]) -> Verdict:
        """Give what comes of these candidates; the first that ends the trial ends it."""
        self.held.append([str(device) for device in candidates])
        lost: dict[str, TorchLoomError] = {}
        figures: dict[str, float] = {}
        for device in self.held[-1]:
            does = self._does[device.partition(":")[0]]
            if isinstance(does, TrialEnded):
                return Verdict(lost={**lost, device: does}, over=None)
            if isinstance(does, InvalidModel):
                raise does
            if isinstance(does, TorchLoomError):
                lost[device] = does
            else:
                figures[device] = does
        over = Over(
            left=list(figures),
            figures=figures if len(candidates) > 1 else {},
            dtype="bfloat16",
            pieces=[],
            failures=[],
        )
        return Verdict(lost=lost, over=over)


def contest(
    trials: Trials,
    folder: Path | None = None,
    candidates: Sequence[Device] = (CPU, OPENVINO),
    model: str = "m",
) -> Contest:
    """Make a contest between the CPU and OpenVINO's."""
    return Contest(
        candidates=candidates,
        model=model,
        findings=FindingStore(folder),
        hold_trial=trials.hold,
        report=lambda *_: None,
    )


def test_takes_the_fastest_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """The figures are in the note and in the log; the dtype is that of the trial."""
    caplog.set_level(logging.INFO)

    decision = contest(Trials(cpu=0.0052, openvino=0.0031)).decide()

    assert decision.device == OPENVINO
    assert decision.dtype == "bfloat16"
    assert decision.note == "openvino:CPU 3.1 ms, cpu 5.2 ms: openvino:CPU"
    assert decision.note in caplog.text


def test_takes_openvino_for_no_reason_but_its_time() -> None:
    """Where the CPU is faster, the CPU it is."""
    assert contest(Trials(cpu=0.001, openvino=0.002)).decide().device == CPU


def test_measures_once_for_all_starts(tmp_path: Path) -> None:
    """A second start holds no trial; another model holds its own."""
    contest(Trials(cpu=0.2, openvino=0.1), tmp_path).decide()
    trials = Trials(cpu=0.1, openvino=0.2)

    again = contest(trials, tmp_path).decide()
    other = contest(trials, tmp_path, model="n").decide()

    assert (again.device, again.dtype) == (OPENVINO, "bfloat16")
    assert again.note == (
        "openvino:CPU 100.0 ms, cpu 200.0 ms: openvino:CPU (measured at an earlier start)"
    )
    assert other.device == CPU
    assert len(trials.held) == 1


def test_says_who_dropped_out_at_later_starts_too(tmp_path: Path) -> None:
    """The others serve, and the reason is kept with the figures."""
    trials = Trials(cpu=0.1, openvino=ModelLoadError("no luck"))
    said = "cpu 100.0 ms: cpu; not on openvino:CPU: no luck"

    assert contest(trials, tmp_path).decide().note == said
    assert contest(trials, tmp_path).decide().note == f"{said} (measured at an earlier start)"
    assert len(trials.held) == 1


def test_tries_the_others_again_where_one_ends_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that crashes is never tried twice, nor one that had dropped out before."""
    monkeypatch.setattr(choice, "_full_name", str)
    cuda = Device("cuda", "0")
    candidates = [cuda, CPU, OPENVINO]
    trials = Trials(cpu=0.1, cuda=ModelLoadError("too old"), openvino=CRASH)

    decision = contest(trials, tmp_path, candidates).decide()

    assert trials.held == [["cuda:0", "cpu", "openvino:CPU"], ["cpu"]]
    reasons = "not on cuda:0: too old; not on openvino:CPU: the trial ended by SIGSEGV"
    said = f"cpu alone is left; {reasons}"
    assert decision.note == said
    again = contest(trials, tmp_path, candidates).decide()
    assert again.note == f"{said} (found at an earlier start)"


def test_fails_as_the_first_device_failed_where_none_is_left(tmp_path: Path) -> None:
    """A model that loads nowhere does not start, and the next start tries again."""
    trials = Trials(cpu=DeviceUnavailable("no cpu"), openvino=ModelLoadError("no luck"))

    for _ in range(2):
        with pytest.raises(DeviceUnavailable, match=r"^no cpu$"):
            contest(trials, tmp_path).decide()
    assert trials.held == [["cpu", "openvino:CPU"]] * 2


def test_fails_with_all_reasons_where_every_device_ends_the_trial() -> None:
    """It tries no more often than there are devices."""
    trials = Trials(cpu=CRASH, openvino=CRASH)

    with pytest.raises(
        ModelLoadError,
        match=r"no device here: not on cpu: the trial ended by SIGSEGV; not on openvino:CPU: the",
    ):
        contest(trials).decide()
    assert trials.held == [["cpu", "openvino:CPU"], ["openvino:CPU"]]


def test_fails_at_once_where_the_model_is_wrong() -> None:
    """What no device can mend is raised as it is."""
    trials = Trials(cpu=InvalidModel("wrong"), openvino=0.1)

    with pytest.raises(InvalidModel, match=r"^wrong$"):
        contest(trials).decide()
    assert len(trials.held) == 1


def test_tries_a_model_once_for_workers_that_start_together(tmp_path: Path) -> None:
    """The others wait for the first one's finding, and say so."""
    trials, told = Trials(cpu=0.1, openvino=0.2), list[str]()
    has_begun, may_end = threading.Event(), threading.Event()

    def hold(candidates: Sequence[Device]) -> Verdict:
        has_begun.set()
        may_end.wait(60)
        return trials.hold(candidates)

    def report(what: str, fraction: float | None) -> None:
        assert fraction is None
        told.append(what)
        may_end.set()

    def make(report: Report) -> Contest:
        return Contest(
            candidates=[CPU, OPENVINO],
            model="m",
            findings=FindingStore(tmp_path),
            hold_trial=hold,
            report=report,
        )

    first = threading.Thread(target=make(lambda *_: None).decide)
    first.start()
    assert has_begun.wait(60)
    second = make(report).decide()
    first.join()

    assert told == ["waiting until another worker has measured this model"]
    assert second.note.endswith("(measured at an earlier start)")
    assert len(trials.held) == 1


class FakeCore:
    """An OpenVINO that sees two devices."""

    available_devices = ("CPU", "GPU")


@pytest.mark.parametrize(
    ("config", "has_cuda", "has_openvino", "expected"),
    [
        ({}, False, True, ["cpu", "openvino:CPU", "openvino:GPU"]),
        ({}, True, True, ["cuda:0", "cpu", "openvino:CPU", "openvino:GPU"]),
        ({}, False, False, ["cpu"]),
        ({"compile": "eager"}, True, True, ["cuda:0", "cpu"]),
        ({"compile": {"backend": "inductor"}}, False, True, ["cpu"]),
        ({"compile": "openvino"}, True, True, ["openvino:CPU", "openvino:GPU"]),
        ({"weights": "int8"}, True, True, ["openvino:CPU", "openvino:GPU"]),
        ({"warmup": False}, True, True, ["cuda:0"]),
    ],
)
def test_lists_what_can_run_what_the_model_file_asks_for(
    config: Mapping[str, object],
    has_cuda: bool,  # noqa: FBT001 - a column of the table
    has_openvino: bool,  # noqa: FBT001 - the same
    expected: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`auto` is any device on which the named backend and weights exist."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(choice, "is_installed", lambda: has_openvino)
    monkeypatch.setattr(choice, "core", FakeCore)

    assert [str(device) for device in candidates_of(config)] == expected


def test_says_that_openvino_is_missing_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`compile: openvino` on `auto` without the package, or without a device, does not start."""

    class NoCore:
        available_devices = ()

    monkeypatch.setattr(choice, "core", NoCore)

    with pytest.raises(DeviceUnavailable, match="OpenVINO sees no device"):
        candidates_of({"compile": "openvino"})
