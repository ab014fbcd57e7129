"""Choice: which of several devices runs a model fastest. Measures, says so, and keeps the answer.

All of them are opened and given the same tasks, in turn. Knows no kind of model.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from torchloom.device import Device
from torchloom.engine import Engine, Failure, Result, Work
from torchloom.errors import DeviceUnavailable, ModelLoadError, TorchLoomError
from torchloom_models.artefact import digest_of_text, machine_digest
from torchloom_models.backend import backend_of, needs_openvino
from torchloom_models.finding import FindingStore
from torchloom_models.openvino_device import core, is_installed


_log = logging.getLogger(__name__)

#: Each device runs the tasks once unmeasured, and then so many times.
_ROUNDS = 7

#: Where findings lie, below the folder of artefacts.
_FOLDER = "findings"


class NotedEngine(Engine, Protocol):
    """An engine that can be given notes."""

    notes: tuple[str, ...]


EngineT = TypeVar("EngineT", bound=NotedEngine)

#: Gives the seconds that an engine takes for tasks.
Measure = Callable[[Engine, Sequence[Work]], float]


def candidates_of(config: Mapping[str, object]) -> list[Device]:
    """Give what `auto` may be for a model: CUDA where there is any, the CPU, OpenVINO's devices.

    Where the model file names a backend, only what that runs on. Where it wants no warm-up, only
    the first: they are measured when they are warmed up.
    """
    backend = backend_of(config.get("compile", "auto"))
    candidates = []
    if not needs_openvino(config):
        candidates += [Device("cuda", "0")] if torch.cuda.is_available() else []
        candidates.append(Device("cpu"))
    if backend in {"auto", "openvino"} and (is_installed() or not candidates):
        candidates += [Device("openvino", unit) for unit in core().available_devices]
    if not candidates:
        raise DeviceUnavailable("OpenVINO sees no device here.")
    return candidates if config.get("warmup", True) else candidates[:1]


def run_together(engine: Engine, works: Sequence[Work]) -> float:
    """Give the seconds that an engine takes for tasks, all in one batch, whatever their steps.

    Raises ModelLoadError where one of them fails.
    """
    for work in works:
        engine.admit(work)
    num_left = len(works)
    started = time.perf_counter()
    while num_left:
        for event in engine.step():
            if isinstance(event, Failure):
                message = f"The warm-up on {engine.device} failed: {event.error.message}"
                raise ModelLoadError(message)
            num_left -= isinstance(event, Result)
    return time.perf_counter() - started


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What is measured: `works`, which every candidate's engine gets in one batch."""

    candidates: Sequence[Device]
    works: Sequence[Work]
    #: What the answer depends on besides this machine: the model and what its file says.
    model: str
    artefacts: Path | None
    measure: Measure = run_together

    def open_fastest(self, open_on: Callable[[Device], EngineT]) -> EngineT:
        """Open the engine on every candidate, keep the fastest, and close the others.

        A candidate that the model does not load on, or fails its tasks on, drops out. Raises what
        the first of them raised where that leaves none.
        """
        if len(self.candidates) == 1 or not self.works:
            return open_on(self.candidates[0])
        findings = FindingStore(self.artefacts / _FOLDER if self.artefacts else None)
        figures = findings.find(self._digest())
        if figures:
            engine = open_on(Device.parse(_fastest(figures)))
            return _noted(engine, f"{_described(figures)} (measured at an earlier start)")
        failures: dict[str, TorchLoomError] = {}
        engines = self._open_all(open_on, failures)
        with ExitStack() as losers:
            for other in engines.values():
                losers.callback(other.close)
            figures = self._measure_all(engines, failures)
            if not figures:
                raise next(iter(failures.values()))
            losers.pop_all()
        fastest = _fastest(figures)
        for device, other in engines.items():
            if device != fastest:
                other.close()
        findings.keep(self._digest(), figures)
        lost = [f"not on {device}: {error}" for device, error in failures.items()]
        return _noted(engines[fastest], "; ".join([_described(figures), *lost]))

    def _open_all(
        self, open_on: Callable[[Device], EngineT], failures: dict[str, TorchLoomError]
    ) -> dict[str, EngineT]:
        engines: dict[str, EngineT] = {}
        for device in self.candidates:
            try:
                engines[str(device)] = open_on(device)
            except (ModelLoadError, DeviceUnavailable) as error:
                failures[str(device)] = error
        return engines

    def _measure_all(
        self, engines: Mapping[str, Engine], failures: dict[str, TorchLoomError]
    ) -> dict[str, float]:
        """Give each engine's median; they take turns, so that what disturbs disturbs all."""
        taken: dict[str, list[float]] = {device: [] for device in engines}
        for _ in range(1 + _ROUNDS):
            for device in list(taken):
                try:
                    taken[device].append(self.measure(engines[device], self.works))
                except TorchLoomError as error:
                    failures[device] = error
                    del taken[device]
        return {device: statistics.median(seconds[1:]) for device, seconds in taken.items()}

    def _digest(self) -> str:
        names = [f"{device} {_full_name(device)}" for device in self.candidates]
        threads = str(torch.get_num_threads())
        return digest_of_text(machine_digest("openvino"), self.model, threads, *names)


def _full_name(device: Device) -> str:
    if device.kind == "openvino":
        return str(core().get_property(device.unit, "FULL_DEVICE_NAME"))
    return torch.cuda.get_device_name(int(device.unit)) if device.kind == "cuda" else ""


def _fastest(figures: Mapping[str, float]) -> str:
    return min(figures, key=lambda device: figures[device])


def _described(figures: Mapping[str, float]) -> str:
    by_time = sorted(figures.items(), key=lambda item: item[1])
    times = ", ".join(f"{device} {seconds * 1000:.1f} ms" for device, seconds in by_time)
    return f"{times}: {by_time[0][0]}"


def _noted(engine: EngineT, note: str) -> EngineT:
    engine.notes = (*engine.notes, note)
    _log.info("%s", note)
    return engine
