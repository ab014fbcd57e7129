"""Opening: one reading of a model, any device; the same settings and keys on each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from torchloom.device import Device
from torchloom.engine import BatchEngine, Engine, Work
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

    def _measure(self, engine: Engine, works: Sequence[Work]) -> float:
        return len(works) * (0.2 if engine.device == "cpu" else 0.1)

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


def test_opens_the_fastest_on_auto_and_keeps_the_answer(tmp_path: Path) -> None:
    """Devices are measured as the kind says, at the first start alone."""
    first, second = echo(artefacts=str(tmp_path)), echo(artefacts=str(tmp_path))

    assert first.open(Device("auto")).device == "openvino:CPU"
    assert second.open(Device("auto")).device == "openvino:CPU"

    assert (len(first.dtypes), len(second.dtypes)) == (2, 1)


def test_settles_the_dtype_where_it_is_opened_first() -> None:
    """The second device calculates in what `auto` was on the first."""
    model = echo()
    model.open(Device("auto"))

    assert model.dtypes == ("auto", "bfloat16")


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
