"""Several devices take turns at the same tasks; who cannot do them drops out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from torchloom.device import Device
from torchloom.engine import BatchEngine, Engine, Failure, Values, Work
from torchloom.errors import DeviceUnavailable, InvalidModel, ModelLoadError, TaskFailed
from torchloom.wire import from_error
from torchloom_models import race as race_module
from torchloom_models.finding import FindingStore
from torchloom_models.race import Race, run_together
from torchloom_models.trial import At, Lost, Message, Told


pytestmark = pytest.mark.slow

CPU, OPENVINO = Device("cpu"), Device("openvino", "CPU")

WORKS = [Work(0, {"text": "a"}), Work(1, {"text": "b"})]

#: What measures an engine.
Measure = Callable[[Engine, Sequence[Work]], float]

#: Holds the lock of the timing in another process, says so, and waits to be killed.
_HOLDER = """
import sys, threading
from pathlib import Path
from torchloom_models.finding import FindingStore
with FindingStore(Path(sys.argv[1])).lock("timing", on_wait=lambda: None):
    print("held", flush=True)
    threading.Event().wait()
"""


class Opener:
    """Opens engines that answer nothing, and remembers which are closed."""

    def __init__(self, broken: Mapping[Device, Exception] | None = None) -> None:
        self.closed: list[str] = []
        self.broken = broken or {}

    def __call__(self, device: Device) -> BatchEngine:
        """Open one, unless it is to be broken."""
        if device in self.broken:
            raise self.broken[device]
        return BatchEngine(
            lambda batch: [{} for _ in batch],
            max_tasks=8,
            device=str(device),
            close=lambda: self.closed.append(str(device)),
        )


def taking(**times: Sequence[float]) -> Measure:
    """Measure nothing: give these seconds in turn, by kind of device; the last one stays."""
    left = {kind: list(seconds) for kind, seconds in times.items()}

    def measure(engine: Engine, works: Sequence[Work]) -> float:
        assert works == WORKS
        seconds = left[engine.device.partition(":")[0]]
        return seconds.pop(0) if len(seconds) > 1 else seconds[0]

    return measure


def hold(
    opener: Opener, measure: Measure, messages: list[Message], findings: Path | None = None
) -> dict[str, float]:
    """Hold a race between the CPU and OpenVINO's; give its figures."""
    race = Race(
        open_on=opener,
        works=WORKS,
        measure=measure,
        findings=FindingStore(findings),
        tell=messages.append,
    )
    with race:
        race.open([CPU, OPENVINO])
        figures = race.run()
        assert opener.closed == []
        assert list(figures) == list(race.engines)
    return figures


def reasons(messages: Sequence[Message]) -> dict[str, str]:
    """Say who has dropped out, and why."""
    errors = {m.device: from_error(m.error) for m in messages if isinstance(m, Lost)}
    return {device: f"{type(error).__name__}: {error}" for device, error in errors.items()}


def test_gives_the_median_of_each_and_closes_all() -> None:
    """Neither the first call nor an outlier counts; at the end nothing is left open."""
    opener = Opener()
    measure = taking(cpu=[0.001, 0.0052], openvino=[9.0, 9.0, 0.0031])

    assert hold(opener, measure, []) == {"cpu": 0.0052, "openvino:CPU": 0.0031}
    assert sorted(opener.closed) == ["cpu", "openvino:CPU"]


def test_lets_devices_take_turns_and_says_at_which_it_is() -> None:
    """What disturbs disturbs all; whoever listens knows which of them has ended the process."""
    order: list[str] = []
    messages: list[Message] = []

    def measure(engine: Engine, _works: Sequence[Work]) -> float:
        assert messages[-1] == At(engine.device)
        order.append(engine.device)
        return 0.1

    hold(Opener(), measure, messages)

    assert order == ["cpu", "openvino:CPU"] * 8
    assert messages[:3] == [
        At("cpu"),
        At("openvino:CPU"),
        Told("measuring cpu, openvino:CPU", 0.0),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelLoadError("no"), "ModelLoadError: no"),
        (DeviceUnavailable("gone"), "DeviceUnavailable: gone"),
        (TaskFailed("no loss"), "TaskFailed: no loss"),
        (RuntimeError("out of memory"), "ModelLoadError: RuntimeError: out of memory"),
    ],
)
def test_leaves_out_a_device_that_the_model_does_not_load_on(error: Exception, reason: str) -> None:
    """It says why, in the words of whatever was raised, and measures the others."""
    messages: list[Message] = []

    figures = hold(Opener({OPENVINO: error}), taking(cpu=[0.1]), messages)

    assert figures == {"cpu": 0.1}
    assert reasons(messages) == {"openvino:CPU": reason}


def test_leaves_out_a_device_that_fails_what_is_measured() -> None:
    """A model that loads there and cannot do its own sample is served elsewhere."""

    def measure(engine: Engine, _works: Sequence[Work]) -> float:
        if engine.device != "cpu":
            raise TaskFailed("broken")
        return 0.1

    opener, messages = Opener(), list[Message]()

    assert hold(opener, measure, messages) == {"cpu": 0.1}
    assert reasons(messages) == {"openvino:CPU": "TaskFailed: broken"}
    assert sorted(opener.closed) == ["cpu", "openvino:CPU"]


def test_has_no_figures_where_nobody_is_left() -> None:
    """All of them have said why."""
    messages: list[Message] = []
    broken = {device: ModelLoadError(f"no {device}") for device in (CPU, OPENVINO)}

    assert hold(Opener(broken), taking(), messages) == {}
    assert list(reasons(messages)) == ["cpu", "openvino:CPU"]


def test_gives_up_on_a_model_that_is_wrong() -> None:
    """No other device mends a model file; what is open is closed."""
    opener = Opener({OPENVINO: InvalidModel("wrong")})

    with pytest.raises(InvalidModel, match="wrong"):
        hold(opener, taking(), [])
    assert opener.closed == ["cpu"]


def test_waits_for_another_race_of_the_machine(tmp_path: Path) -> None:
    """Two models do not time each other; a race that is killed holds up nobody."""
    command = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    messages: list[Message] = []
    waiting = Told("waiting until another model is measured", None)

    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        class Killing(list[Message]):
            """Hears the race, and kills the holder when it waits for it."""

            def append(self, message: Message) -> None:
                super().append(message)
                if message == waiting:
                    assert not any(isinstance(each, Told) for each in self[:-1])
                    holder.kill()

        messages = Killing()
        figures = hold(Opener(), taking(cpu=[0.1], openvino=[0.2]), messages, tmp_path)

    assert waiting in messages
    assert figures == {"cpu": 0.1, "openvino:CPU": 0.2}


def test_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A race that hangs costs others some minutes, and no more."""
    monkeypatch.setattr(race_module, "_MAX_WAIT_S", 0.0)
    messages: list[Message] = []

    with FindingStore(tmp_path).lock("timing", on_wait=lambda: None):
        assert hold(Opener(), taking(cpu=[0.1], openvino=[0.2]), messages, tmp_path)
    assert Told("waiting until another model is measured", None) in messages


def test_runs_all_tasks_in_one_batch() -> None:
    """What is measured is a batch as it is served."""
    batches: list[int] = []

    def forward(batch: Sequence[Work]) -> Sequence[Values]:
        batches.append(len(batch))
        return [{} for _ in batch]

    assert run_together(BatchEngine(forward, max_tasks=8), WORKS) >= 0
    assert batches == [2]


def test_fails_where_a_task_fails() -> None:
    """The device is named, and what it said."""

    class Failing:
        """An engine that fails every task."""

        device = "cpu"

        def admit(self, work: Work) -> None:
            """Take it."""

        def step(self) -> list[Failure]:
            """Fail."""
            return [Failure(0, TaskFailed("broken"))]

    with pytest.raises(ModelLoadError, match="The warm-up on cpu failed: broken"):
        run_together(Failing(), WORKS)  # type: ignore[arg-type]  # as much of one as is needed
