"""CompileJob: compiles what files declare, ahead of time, in workers as a server starts them.

Puts what it compiles into the store, where a server finds it. Prints nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.errors import TorchLoomError
from torchloom.executor import Executor
from torchloom.orchestrator import Orchestrator
from torchloom.policy import ReplicaPolicy
from torchloom.pool import OnProgress
from torchloom_api.settings import Settings
from torchloom_models import rehearsal
from torchloom_models.artefact import Artefact, ArtefactStore
from torchloom_models.backend import backend_of
from torchloom_models.kind import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A compiled part of a model. `artefact` is None where it cannot be carried elsewhere."""

    part: str
    route: str
    seconds: float
    is_new: bool
    artefact: Artefact | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one model on one device.

    `compiled`: some of it is new; `kept`: all of it was there; `nothing`: there is nothing to
    compile, and `reason` says why; `failed`: it did not load, or some of it does not compile.
    """

    model: str
    device: str
    state: Literal["compiled", "kept", "nothing", "failed"]
    reason: str = ""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileJob:
    """Compiles models into the store of `settings`, one after the other."""

    settings: Settings
    on_progress: OnProgress
    executor: Executor | None = None

    def run(self, deployments: Iterable[Deployment]) -> list[Outcome]:
        """Compile every model on each of its devices. A model that fails holds up no other."""
        return asyncio.run(self._run(deployments))

    async def _run(self, deployments: Iterable[Deployment]) -> list[Outcome]:
        return [
            await self._compile(deployment, device)
            for deployment in deployments
            for device in deployment.devices
        ]

    async def _compile(self, deployment: Deployment, device: Device) -> Outcome:
        reason = _find_no_need(deployment)
        if reason is not None:
            return Outcome(
                model=deployment.label, device=str(device), state="nothing", reason=reason
            )
        try:
            async with Orchestrator(executor=self.executor) as orchestrator:
                rehearsed = self._rehearsed(deployment, device)
                await orchestrator.add_model(rehearsed, on_progress=self.on_progress)
                told = await orchestrator.predict(deployment.name, {}, {})
                status = orchestrator.model(deployment.name)
        except TorchLoomError as error:
            return Outcome(
                model=deployment.label, device=str(device), state="failed", reason=error.message
            )
        return self._to_outcome(deployment, status.replicas[0].device, told)

    def _rehearsed(self, deployment: Deployment, device: Device) -> Deployment:
        config = {
            **deployment.config,
            "functions": list(self.settings.functions),
            "artefacts": str(self.settings.artefacts_folder),
            "warmup": True,
        }
        return replace(
            deployment,
            factory=rehearsal.FACTORY,
            config={"factory": deployment.factory, "config": config},
            devices=(device,),
            replicas=ReplicaPolicy(),
            params={},
        )

    def _to_outcome(
        self, deployment: Deployment, device: str, told: Mapping[str, object]
    ) -> Outcome:
        there = {a.name: a for a in ArtefactStore(self.settings.artefacts_folder).artefacts()}
        pieces = cast("Sequence[Mapping[str, object]]", told["pieces"])
        failures = cast("Sequence[str]", told["failures"])
        parts = tuple(_to_part(piece, there) for piece in pieces)
        if failures:
            state, reason = "failed", "; ".join(failures)
        elif not parts:
            state, reason = "nothing", f"it runs eagerly on {device}"
        else:
            state, reason = "compiled" if any(part.is_new for part in parts) else "kept", ""
        return Outcome(
            model=deployment.label,
            device=device,
            state=cast("Literal['compiled', 'kept', 'nothing', 'failed']", state),
            reason=reason,
            parts=parts,
        )


def artefacts_of(outcomes: Iterable[Outcome]) -> list[Artefact]:
    """Give the artefacts of all models, each once."""
    found = [part.artefact for outcome in outcomes for part in outcome.parts]
    return list({artefact.name: artefact for artefact in found if artefact is not None}.values())


def to_json(outcome: Outcome) -> dict[str, object]:
    """Give an outcome as the command prints it."""
    parts = [
        {
            "part": part.part,
            "route": part.route,
            "seconds": round(part.seconds, 3),
            "is_new": part.is_new,
            **_place_of(part.artefact),
        }
        for part in outcome.parts
    ]
    return {
        "model": outcome.model,
        "device": outcome.device,
        "state": outcome.state,
        "reason": outcome.reason or None,
        "parts": parts,
    }


def _find_no_need(deployment: Deployment) -> str | None:
    """Say why a model has nothing to compile, where that is known before it is opened."""
    if not KINDS[deployment.kind].can_compile:
        return f"models of kind {deployment.kind!r} run no compiled code"
    if backend_of(deployment.config.get("compile", "auto")) == "eager":
        return "its file says `compile: eager`"
    return None


def _to_part(piece: Mapping[str, object], there: Mapping[str, Artefact]) -> Part:
    return Part(
        part=str(piece["part"]),
        route=str(piece["route"]),
        seconds=cast("float", piece["seconds"]),
        is_new=bool(piece["is_new"]),
        artefact=there.get(str(piece["artefact"])),
    )


def _place_of(artefact: Artefact | None) -> dict[str, object]:
    folder: Path | None = None if artefact is None else artefact.folder
    return {
        "artefact": artefact.name if artefact else None,
        "folder": str(folder) if folder else None,
        "bytes": artefact.bytes if artefact else None,
    }
