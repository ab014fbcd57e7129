"""InterfaceTable: each model's interface, and what answers have shown where nothing is declared.

A class or a function tells its tensors with its first answer. Knows no request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from torchloom.deployment import Deployment
from torchloom_api.kserve.interface import Interface, TensorSpec
from torchloom_api.kserve.tensor import Tensor


#: How many models are remembered, and how many tensors of each that nobody has declared.
_MAX_MODELS: Final = 1024
_MAX_SEEN: Final = 64


@dataclass(slots=True)
class _Entry:
    deployment: Deployment
    interface: Interface
    inputs: dict[str, TensorSpec] = field(default_factory=dict)
    outputs: dict[str, TensorSpec] = field(default_factory=dict)


class InterfaceTable:
    """Interfaces by label; a label whose deployment is another object is looked at again."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def of(self, deployment: Deployment) -> Interface:
        """Give a model's interface."""
        return self._find(deployment).interface

    def note(
        self, deployment: Deployment, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        """Remember what a request that was answered has shown."""
        entry = self._find(deployment)
        if not entry.interface.main_inputs:
            _merge(entry.inputs, inputs, is_rowwise=entry.interface.is_rowwise)
        if not entry.interface.main_outputs:
            _merge(entry.outputs, outputs, is_rowwise=entry.interface.is_rowwise)

    def inputs(self, deployment: Deployment) -> list[TensorSpec]:
        """Tell a model's inputs: what is declared, else what was seen."""
        entry = self._find(deployment)
        return entry.interface.input_specs or list(entry.inputs.values())

    def outputs(self, deployment: Deployment) -> list[TensorSpec]:
        """Tell a model's outputs, in the same way."""
        entry = self._find(deployment)
        return entry.interface.output_specs or list(entry.outputs.values())

    def _find(self, deployment: Deployment) -> _Entry:
        entry = self._entries.get(deployment.label)
        if entry is None or entry.deployment is not deployment:
            if len(self._entries) >= _MAX_MODELS:
                self._entries.clear()
            entry = _Entry(deployment, Interface.of(deployment))
            self._entries[deployment.label] = entry
        return entry


def _merge(known: dict[str, TensorSpec], tensors: Sequence[Tensor], *, is_rowwise: bool) -> None:
    for tensor in tensors:
        before = known.get(tensor.name)
        if before is not None or len(known) < _MAX_SEEN:
            known[tensor.name] = _to_spec(tensor, before, is_rowwise=is_rowwise)


def _to_spec(tensor: Tensor, before: TensorSpec | None, *, is_rowwise: bool) -> TensorSpec:
    """Show a tensor; a size that differs from the one before is any size."""
    shape = [-1, *tensor.shape[1:]] if is_rowwise else tensor.shape
    if before is not None and len(before.shape) == len(shape):
        pairs = zip(before.shape, shape, strict=True)
        shape = [new if old == new else -1 for old, new in pairs]
    return TensorSpec(name=tensor.name, datatype=tensor.datatype, shape=shape)
