"""Choice: which of several devices runs a model fastest. Has them tried, says so, keeps the answer.

Knows no kind of model, and opens none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.errors import DeviceUnavailable, ModelLoadError, TorchLoomError
from torchloom_models.artefact import digest_of_text, machine_digest
from torchloom_models.backend import backend_of, needs_openvino
from torchloom_models.finding import Finding, FindingStore
from torchloom_models.hardware import DtypeName
from torchloom_models.openvino_device import core, is_installed
from torchloom_models.trial import Over, TrialEnded, Verdict


_log = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The device that serves, in the dtype that all were measured in; `note` says why."""

    device: Device
    dtype: DtypeName
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Finds out which of several candidates serves a model."""

    candidates: Sequence[Device]
    #: What the answer depends on besides this machine: the model and what its file says.
    model: str
    findings: FindingStore
    #: Tries candidates, in another process.
    hold_trial: Callable[[Sequence[Device]], Verdict]
    report: Report

    def decide(self) -> Decision:
        """Give the fastest, of this start or of an earlier one.

        A candidate that the model does not load on, or fails its tasks on, drops out, and so does
        one that ends the trial. Raises what the first of them raised where that leaves none. Of
        several workers that open the same model, one has it tried and the others wait.
        """
        digest = self._digest()
        finding = self.findings.find(digest)
        if finding is None:
            with self.findings.lock(digest, on_wait=self._tell_wait):
                finding = self.findings.find(digest)
                if finding is None:
                    finding = self._find()
                    self.findings.keep(digest, finding)
                    return _decision(finding, str(finding))
        verb = "measured" if finding.figures else "found"
        return _decision(finding, f"{finding} ({verb} at an earlier start)")

    def _find(self) -> Finding:
        lost: dict[str, TorchLoomError] = {}
        over = self._try_all(lost)
        if over is None or not over.left:
            raise _reason(lost)
        return Finding(
            device=min(over.left, key=lambda device: over.figures.get(device, 0.0)),
            dtype=over.dtype,
            figures=over.figures,
            lost={device: error.message for device, error in lost.items()},
        )

    def _try_all(self, lost: dict[str, TorchLoomError]) -> Over | None:
        """Hold a trial; where it dies, another without who dropped out, until none is left."""
        remaining = list(self.candidates)
        for _ in self.candidates:
            verdict = self.hold_trial(remaining)
            lost.update(verdict.lost)
            remaining = [device for device in remaining if str(device) not in lost]
            if verdict.over is not None or not remaining:
                return verdict.over
        return None

    def _tell_wait(self) -> None:
        self.report("waiting until another worker has measured this model", None)

    def _digest(self) -> str:
        names = [f"{device} {_full_name(device)}" for device in self.candidates]
        threads = str(torch.get_num_threads())
        return digest_of_text(machine_digest("openvino"), self.model, threads, *names)


def _full_name(device: Device) -> str:
    if device.kind == "openvino":
        return str(core().get_property(device.unit, "FULL_DEVICE_NAME"))
    return torch.cuda.get_device_name(int(device.unit)) if device.kind == "cuda" else ""


def _decision(finding: Finding, note: str) -> Decision:
    _log.info("%s", note)
    return Decision(device=Device.parse(finding.device), dtype=finding.dtype, note=note)


def _reason(lost: Mapping[str, TorchLoomError]) -> TorchLoomError:
    """Give what the first of them raised; or all reasons, where a process that ended is one."""
    first = next(iter(lost.values()))
    if not any(isinstance(error, TrialEnded) for error in lost.values()):
        return first
    reasons = "; ".join(f"not on {device}: {error.message}" for device, error in lost.items())
    return ModelLoadError(f"The model runs on no device here: {reasons}. See the log.")
