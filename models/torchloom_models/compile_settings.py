"""CompileSettings: what a model file says of compiling, read. Compiles nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self, cast

from torchloom_models.backend import Backend, WeightFormat


#: One of torch.compile's.
Mode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]

#: Modes that come with CUDA graphs, and what is left of them without.
_RECORDED: Mapping[Mode, Mode] = {
    "reduce-overhead": "default",
    "max-autotune": "max-autotune-no-cudagraphs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileSettings:
    """What the model file says under `compile:`, and under `weights:`.

    `auto` compiles where it can and says where it cannot; `inductor` and `openvino` compile, or the
    model does not start. A `mode` that is not said is the kind's own. `dynamic: false` gives each
    bucket code of its own. `buckets` are lengths or batch sizes, as the kind says.
    """

    backend: Backend = "auto"
    mode: Mode | None = None
    dynamic: bool = True
    buckets: tuple[int, ...] = ()
    weights: WeightFormat = "full"

    @classmethod
    def of_model(cls, config: Mapping[str, object]) -> Self:
        """Read all of it from what a model file says."""
        settings = cls.from_config(config.get("compile", "auto"))
        return replace(settings, weights=cast("WeightFormat", config.get("weights", "full")))

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Read `auto`, another backend or a mapping, as checked by `spec.parse_model`."""
        if isinstance(value, Mapping):
            return cls(**{**value, "buckets": tuple(sorted(value.get("buckets", ())))})
        return cls(backend=cast("Backend", value))

    def on(self, device: str) -> Self:
        """Give what holds on a device: OpenVINO compiles for an NPU size by size only."""
        return replace(self, dynamic=self.dynamic and not device.startswith("openvino:NPU"))

    def preferring(self, mode: Mode) -> Self:
        """Give what holds for a kind that a mode suits, unless the model file says another."""
        return replace(self, mode=self.mode or mode)

    @property
    def inductor_mode(self) -> Mode:
        """The mode without its CUDA graphs: those are recorded here, around whatever compiled."""
        return _RECORDED.get(self.mode, self.mode) if self.mode else "default"

    def records_on(self, device: str) -> bool:
        """Say whether code is recorded as CUDA graphs."""
        return device.startswith("cuda") and self.backend != "eager" and self.mode in _RECORDED
