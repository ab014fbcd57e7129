"""Which of several devices: measured, said, kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch

from torchloom.device import Device
from torchloom.engine import BatchEngine, Engine, Values, Work
from torchloom.errors import DeviceUnavailable, ModelLoadError, TaskFailed
from torchloom_models import choice
from torchloom_models.choice import Contest, candidates_of, run_together


pytestmark = pytest.mark.slow

CPU, GPU, OPENVINO = Device("cpu"), Device("cuda", "0"), Device("openvino", "CPU")

WORKS = [Work(0, {"text": "a"}), Work(1, {"text": "b"})]


class Opener:
    """Opens engines that answer nothing, and remembers which, and which of them are closed."""

    def __init__(self, broken: Sequence[Device] = ()) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.broken = broken

    def __call__(self, device: Device) -> BatchEngine:
        """Open one, unless it is to be broken."""
        if device in self.broken:
            raise ModelLoadError(f"no {device}")
        self.opened.append(str(device))
        return BatchEngine(
            lambda batch: [{} for _ in batch],
            max_tasks=8,
            device=str(device),
            close=lambda: self.closed.append(str(device)),
        )


def taking(**times: Sequence[float]) -> Callable[[Engine, Sequence[Work]], float]:
    """Measure nothing: give these seconds in turn, by kind of device; the last one stays."""
    left = {kind: list(seconds) for kind, seconds in times.items()}

    def measure(engine: Engine, works: Sequence[Work]) -> float:
        assert works == WORKS
        seconds = left[engine.device.partition(":")[0]]
        return seconds.pop(0) if len(seconds) > 1 else seconds[0]

    return measure


def contest(
    measure: Callable[[Engine, Sequence[Work]], float],
    artefacts: Path | None = None,
    candidates: Sequence[Device] = (CPU, OPENVINO),
    model: str = "m",
) -> Contest:
    """Make a contest between the CPU and OpenVINO's."""
    return Contest(
        candidates=candidates, works=WORKS, model=model, artefacts=artefacts, measure=measure
    )


def test_keeps_the_fastest_and_closes_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """The medians decide, not the first call nor an outlier; the engine and the log say them."""
    caplog.set_level(logging.INFO)
    opener = Opener()
    measure = taking(cpu=[0.001, 0.0052], openvino=[9.0, 9.0, 0.0031])

    engine = contest(measure).open_fastest(opener)

    assert engine.device == "openvino:CPU"
    assert opener.closed == ["cpu"]
    assert engine.notes == ("openvino:CPU 3.1 ms, cpu 5.2 ms: openvino:CPU",)
    assert engine.notes[0] in caplog.text


def test_takes_openvino_for_no_reason_but_its_time() -> None:
    """Where the CPU is faster, the CPU it is."""
    opener = Opener()

    engine = contest(taking(cpu=[0.001], openvino=[0.002])).open_fastest(opener)

    assert engine.device == "cpu"
    assert opener.closed == ["openvino:CPU"]


def test_measures_once_for_all_starts(tmp_path: Path) -> None:
    """A second start opens the winner alone; another model measures for itself."""
    contest(taking(cpu=[0.2], openvino=[0.1]), tmp_path).open_fastest(Opener())
    opener = Opener()
    other_way = taking(cpu=[0.1], openvino=[0.2])

    engine = contest(other_way, tmp_path).open_fastest(opener)
    other = contest(other_way, tmp_path, model="n").open_fastest(Opener())

    assert opener.opened == ["openvino:CPU"]
    assert engine.notes[0].endswith(": openvino:CPU (measured at an earlier start)")
    assert other.device == "cpu"


def test_leaves_out_a_device_that_the_model_does_not_load_on() -> None:
    """It is said, and the others serve."""
    opener = Opener(broken=[OPENVINO])

    engine = contest(taking(cpu=[0.1])).open_fastest(opener)

    assert engine.notes == ("cpu 100.0 ms: cpu; not on openvino:CPU: no openvino:CPU",)
    assert opener.closed == []


def test_leaves_out_a_device_that_fails_what_is_measured() -> None:
    """A model that loads there and cannot do its own sample is served elsewhere."""

    def measure(engine: Engine, _works: Sequence[Work]) -> float:
        if engine.device != "cpu":
            raise TaskFailed("broken")
        return 0.1

    opener = Opener()

    engine = contest(measure).open_fastest(opener)

    assert engine.notes == ("cpu 100.0 ms: cpu; not on openvino:CPU: broken",)
    assert opener.closed == ["openvino:CPU"]


def test_fails_as_the_first_device_failed_where_none_is_left() -> None:
    """A model that loads nowhere does not start."""
    with pytest.raises(ModelLoadError, match="no cpu"):
        contest(taking()).open_fastest(Opener(broken=[CPU, OPENVINO]))


def test_closes_every_engine_where_measuring_fails() -> None:
    """Nothing is left open by a model that cannot do its own sample."""

    def fail(_engine: Engine, _works: Sequence[Work]) -> float:
        raise TaskFailed("broken")

    opener = Opener()

    with pytest.raises(TaskFailed):
        contest(fail).open_fastest(opener)
    assert sorted(opener.closed) == ["cpu", "openvino:CPU"]


def test_measures_nothing_where_there_is_nothing_to_choose() -> None:
    """One candidate, or no task that it could be measured by: the first it is."""
    engine = contest(taking(), candidates=[CPU]).open_fastest(Opener())
    blind = Contest(candidates=[CPU, OPENVINO], works=[], model="m", artefacts=None)

    assert engine.notes == ()
    assert blind.open_fastest(Opener()).device == "cpu"


def test_runs_all_tasks_in_one_batch() -> None:
    """What is measured is a batch as it is served."""
    batches: list[int] = []

    def forward(batch: Sequence[Work]) -> Sequence[Values]:
        batches.append(len(batch))
        return [{} for _ in batch]

    assert run_together(BatchEngine(forward, max_tasks=8), WORKS) >= 0
    assert batches == [2]


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
