"""Opening: one reading of a model, any device; the same settings and keys on each."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch
from model_fakes.openings import open_fake, read_notes

from torchloom.device import Device
from torchloom.engine import BatchEngine, Work
from torchloom_models import opening
from torchloom_models.artefact import ArtefactKey
from torchloom_models.opening import Opening


pytestmark = pytest.mark.slow

CPU, UNIT = Device("cpu"), Device("openvino", "CPU")


class Echo(Opening[BatchEngine]):
    """A model that answers nothing, stored in bfloat16, and remembers where it was opened."""

    timed_by = ("dtype", "weights")
    dtypes: tuple[str, ...] = ()

    @property
    def _model(self) -> str:
        return "m"

    def _works(self) -> list[Work]:
        return [Work(0, {})]

    def _open_at(self, label: str, place: str) -> BatchEngine:
        assert place == "cpu"
        self.dtypes += (self._dtype,)
        self._settle(torch.bfloat16)
        notes = [repr(self._recipe(label, self._dtype).key), *self._losses(lambda _: "less")]
        return BatchEngine(lambda _: [{}], max_tasks=1, device=label, notes=notes)


def echo(**config: object) -> Echo:
    """Read a model file."""
    return Echo({"name": "echo", **config}, lambda *_: None)


@pytest.fixture(autouse=True)
def _two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "candidates_of", lambda _: [CPU, UNIT])
    monkeypatch.setattr(opening, "place_of", lambda _: "cpu")


def test_opens_on_the_device_that_is_named() -> None:
    """Nothing else is opened, and code is found by the model, its dtype and the device."""
    model = echo()

    engine = model.open(UNIT)

    key = ArtefactKey(model="m", dtype="bfloat16", device="openvino:CPU", name="echo")
    assert engine.notes == (repr(key),)
    assert model.dtypes == ("auto",)


@pytest.mark.usefixtures("fakes_path")
def test_opens_the_winner_alone_on_auto(tmp_path: Path) -> None:
    """Devices are tried in another process, at the first start alone; the dtype is theirs."""
    does = {"cpu": 0.2, "openvino:CPU": 0.1}
    config = {"does": does, "folder": str(tmp_path), "artefacts": str(tmp_path)}
    told: list[str] = []
    note = "openvino:CPU 100.0 ms, cpu 200.0 ms: openvino:CPU"

    first = open_fake(config, Device("auto"), lambda what, _: told.append(what))
    trial = read_notes(tmp_path)
    second = open_fake(config, Device("auto"), lambda *_: None)

    assert first.device == second.device == "openvino:CPU"
    assert first.notes == ("in bfloat16", note)
    assert second.notes == ("in bfloat16", f"{note} (measured at an earlier start)")
    assert [(verb, device, pid == os.getpid()) for verb, device, pid in trial] == [
        ("opened", "cpu", False),
        ("opened", "openvino:CPU", False),
        ("closed", "openvino:CPU", False),
        ("closed", "cpu", False),
        ("opened", "openvino:CPU", True),
    ]
    assert read_notes(tmp_path)[len(trial) :] == [("opened", "openvino:CPU", os.getpid())]
    assert told[:2] == ["opening cpu", "opening openvino:CPU"]
    assert told[-1] == "opening openvino:CPU"
    first.close()
    second.close()


@pytest.mark.usefixtures("fakes_path")
def test_serves_on_another_device_where_one_ends_the_process(tmp_path: Path) -> None:
    """A crash is that of the trial, and is not met again; nor where nothing can be kept."""
    does = {"cpu": 0.1, "openvino:CPU": "dies as it is measured"}
    config = {"does": does, "folder": str(tmp_path)}

    engine = open_fake(config, Device("auto"), lambda *_: None)

    note = "cpu alone is left; not on openvino:CPU: the trial ended by SIGKILL"
    assert engine.notes[1:] == (note,)
    assert len({pid for _, _, pid in read_notes(tmp_path)}) == 3
    assert engine.device == "cpu"
    engine.close()


@pytest.mark.parametrize(
    ("candidates", "works"), [([CPU], [Work(0, {})]), ([CPU, UNIT], [])], ids=["alone", "blind"]
)
def test_starts_no_process_where_there_is_nothing_to_choose(
    candidates: list[Device], works: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One candidate, or no task that it could be measured by: the first it is."""
    monkeypatch.setattr(opening, "candidates_of", lambda _: candidates)
    monkeypatch.setattr(Echo, "_works", lambda _: works)
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)

    assert echo().open(Device("auto")).device == "cpu"


def test_settles_the_dtype_where_it_is_opened_first() -> None:
    """The second device calculates in what `auto` was on the first, if that can be named."""
    model = echo()
    for device in (CPU, UNIT):
        model.open(device)
    assert model.dtypes == ("auto", "bfloat16")

    model._settle(torch.float64)
    assert model.dtype == "bfloat16"


def test_measures_anew_where_the_file_says_what_time_depends_on() -> None:
    """Its digest depends on the keys of the kind and on no others."""
    assert echo().digest == echo(warmup=False).digest
    assert echo().digest != echo(weights="int8").digest


@pytest.mark.parametrize(
    ("config", "notes"),
    [
        ({}, ()),
        ({"weights": "int8"}, ("less",)),
        (
            {"weights": "int8", "warmup": False},
            ("int8 weights: loss not measured, since there is no warm-up",),
        ),
    ],
)
def test_tells_what_compressed_weights_lose(
    config: dict[str, object], notes: tuple[str, ...]
) -> None:
    """It compares where there is a warm-up, and says so where there is none."""
    assert echo(**config).open(CPU).notes[1:] == notes
