"""Openings whose devices do what a config says: serve, fail, or end the process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import BatchEngine, Engine, Work
from torchloom.errors import Fault, InvalidModel, ModelLoadError, TaskFailed
from torchloom_models.aot_build import AotBuild, BuildOrder
from torchloom_models.opening import Opening


def open_fake(config: Mapping[str, object], device: Device, report: Report) -> BatchEngine:
    """Open a fake: a factory."""
    return FakeOpening(config, report).open(device)


class FakeOpening(Opening[BatchEngine]):
    """`does` says by device what comes of it; what is opened where is noted in `folder`.

    A number is the seconds that it is measured to take.
    """

    timed_by = ("does",)

    @property
    def _model(self) -> str:
        return "fake"

    def _works(self) -> list[Work]:
        return [Work(0, {})]

    def _measure(self, engine: Engine, works: Sequence[Work]) -> float:
        does = self._does(engine.device)
        if does == "dies as it is measured":
            os.kill(os.getpid(), signal.SIGKILL)
        if does == "fails its task":
            raise TaskFailed("it cannot")
        return len(works) * cast("float", does)

    def _open_on(self, device: Device) -> BatchEngine:
        return self._open_at(str(device), "cpu")

    def _open_at(self, label: str, place: str) -> BatchEngine:
        assert place == "cpu"
        self._note("opened", label)
        self._report(f"opening {label}", 0.5)
        self._act(self._does(label))
        notes = [f"in {self._dtype}"]
        self._settle(torch.bfloat16)
        close = lambda: self._note("closed", label)  # noqa: E731 - the engine's shape
        return BatchEngine(lambda _: [{}], max_tasks=1, device=label, notes=notes, close=close)

    def _act(self, does: object) -> None:
        match does:
            case "crashes":
                os.abort()
            case "crashes and leaves a child":
                if os.fork():
                    os.abort()
                os.read(0, 1)  # until the test's process closes it
                os._exit(0)
            case "ends":
                os._exit(3)
            case "does not load":
                raise ModelLoadError("it does not load")
            case "raises":
                raise RuntimeError("out of luck")
            case "is wrong":
                raise InvalidModel("it is wrong", faults=[Fault(message="here", line=3)])
            case "compiles":
                _compile_for_ever(self._folder)

    @property
    def _folder(self) -> Path:
        return Path(str(self._config["folder"]))

    def _does(self, label: str) -> object:
        return cast("Mapping[str, object]", self._config["does"])[label]

    def _note(self, verb: str, label: str) -> None:
        with (self._folder / "notes.jsonl").open("a") as file:
            file.write(json.dumps([verb, label, os.getpid()]) + "\n")


def _compile_for_ever(folder: Path) -> None:
    """Build with an order that never comes: the test holds the other end of the pipe."""
    order = BuildOrder(threads=1, niceness=0, mode="default")
    AotBuild(folder, order, inductor_folder=folder)._run_child()


def read_notes(folder: Path) -> list[tuple[str, str, int]]:
    """Give what was opened and closed, and by which process, in order."""
    return [tuple(json.loads(line)) for line in (folder / "notes.jsonl").read_text().splitlines()]
