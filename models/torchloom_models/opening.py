"""Opening: what is read once of a model, whichever devices it is opened on. Knows no kind of model.

On `auto` it asks for the fastest (see `choice.py`), and opens that alone.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar, cast, get_args

import torch

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import Engine, Work
from torchloom_models.artefact import ArtefactKey, digest_of_text
from torchloom_models.backend import WeightFormat
from torchloom_models.choice import Contest, candidates_of
from torchloom_models.compile_settings import CompileSettings
from torchloom_models.finding import FindingStore
from torchloom_models.hardware import DtypeName, label_of, place_of
from torchloom_models.loss import unknown_loss
from torchloom_models.race import Race, run_together
from torchloom_models.recipe import Recipe
from torchloom_models.trial import Message, Trial


_log = logging.getLogger(__name__)

#: Where findings lie, below the folder of artefacts.
_FINDINGS = "findings"


class NotedEngine(Engine, Protocol):
    """An engine that can be given notes."""

    notes: tuple[str, ...]


EngineT = TypeVar("EngineT", bound=NotedEngine)


class Opening(ABC, Generic[EngineT]):
    """A model and what its file says, ready to become an engine on any device."""

    #: The keys of a model file that the time of a task may depend on.
    timed_by: ClassVar[tuple[str, ...]]

    def __init__(self, config: Mapping[str, object], report: Report) -> None:
        self._config = config
        self._report = report
        self._has_warm_up = bool(config.get("warmup", True))
        #: The device that is opened first says what `auto` means; all others do as it does.
        self._dtype = cast("DtypeName", config.get("dtype", "auto"))
        artefacts = config.get("artefacts")
        self._artefacts = Path(str(artefacts)) if artefacts else None

    def open(self, device: Device) -> EngineT:
        """Open it on a device; on `auto`, on whichever is the fastest.

        Devices are tried in another process, where there is more than one and nothing is known of
        an earlier start: this one never holds what the losers hold. It opens the winner from the
        code that the trial has kept. Where nothing is kept, the winner is compiled once more: that
        is what each start takes then anyhow, and no reason to measure in here, where a candidate
        that crashes would end the worker. Raises ModelLoadError, InvalidModel or DeviceUnavailable.
        """
        if device.kind != "auto":
            return self._open_on(device)
        candidates = candidates_of(self._config)
        if len(candidates) == 1 or not self._works():
            return self._open_on(candidates[0])
        decision = self._contest(candidates).decide()
        self._dtype = decision.dtype
        engine = self._open_on(decision.device)
        engine.notes = (*engine.notes, decision.note)
        return engine

    def race(self, tell: Callable[[Message], None]) -> Race:
        """Let devices race for it in this process, which is to end then."""
        return Race(
            open_on=self._open_on,
            works=self._works(),
            measure=self._measure,
            findings=self._findings,
            tell=tell,
        )

    @property
    def dtype(self) -> DtypeName:
        """What it calculates in; `auto` until it has been opened, or where dtypes are mixed."""
        return self._dtype

    @property
    def digest(self) -> str:
        """A digest of the model, and of all that its file says which time may depend on."""
        return digest_of_text(self._model, *(repr(self._config.get(key)) for key in self.timed_by))

    @property
    @abstractmethod
    def _model(self) -> str:
        """A digest of all that shapes the model's code."""

    @abstractmethod
    def _works(self) -> Sequence[Work]:
        """Give the tasks that devices are measured with; without any, the first device serves."""

    @abstractmethod
    def _open_at(self, label: str, place: str) -> EngineT:
        """Open it on one device: as it is reported, and where torch has its tensors."""

    def _measure(self, engine: Engine, works: Sequence[Work]) -> float:
        """Give the seconds that an engine takes for tasks."""
        return run_together(engine, works)

    def _contest(self, candidates: Sequence[Device]) -> Contest:
        kind = type(self)
        trial = Trial(
            f"{kind.__module__}:{kind.__qualname__}",
            self._config,
            torch.get_num_threads(),
            report=self._report,
        )
        return Contest(
            candidates=candidates,
            model=self.digest,
            findings=self._findings,
            hold_trial=trial.hold,
            report=self._report,
        )

    @property
    def _findings(self) -> FindingStore:
        return FindingStore(self._artefacts / _FINDINGS if self._artefacts else None)

    def _open_on(self, device: Device) -> EngineT:
        place = place_of(device)
        return self._open_at(label_of(device, place), place)

    def _settle(self, dtype: torch.dtype) -> None:
        """Let the devices that are opened later do as the one that has this dtype.

        One that a model file could not name stays what `auto` is on each of them.
        """
        name = str(dtype).removeprefix("torch.")
        if name in get_args(DtypeName):
            self._dtype = cast("DtypeName", name)

    def _settings(self, label: str) -> CompileSettings:
        return CompileSettings.of_model(self._config).on(label)

    def _recipe(self, label: str, dtype: str) -> Recipe:
        """Give what all code on a device has in common."""
        name = str(self._config.get("name", ""))
        key = ArtefactKey(model=self._model, dtype=dtype, device=label, name=name)
        return Recipe(settings=self._settings(label), key=key, folder=self._artefacts)

    def _losses(self, compare: Callable[[WeightFormat], str], *, obstacle: str = "") -> list[str]:
        """Say what compressed weights lose, where there are any; `compare` runs them and full ones.

        `obstacle`: why they cannot be compared, if they cannot.
        """
        weights = CompileSettings.of_model(self._config).weights
        if weights == "full":
            return []
        if not self._has_warm_up:
            obstacle = obstacle or "there is no warm-up"
        if obstacle:
            return [unknown_loss(weights, obstacle)]
        note = compare(weights)
        _log.info("%s: %s", self._config.get("name", "a model"), note)
        return [note]
