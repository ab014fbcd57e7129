"""AdapterPlan: what a model file says of adapters, read once, whichever devices are tried.

Knows which devices serve them, and loads no weights before there is a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from transformers import PreTrainedModel

from torchloom.deployment import Report
from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.llm.adapter.config import ALL_LINEAR, AdapterConfig, matches
from torchloom_models.llm.adapter.field import takes_adapters
from torchloom_models.llm.adapter.stack import AdapterStack, find_layers
from torchloom_models.llm.adapter.table import AdapterTable
from torchloom_models.source import resolve_source


#: How many adapters are held, and at which rank, where the model file does not say.
_MAX_ADAPTERS: Final = 4
_MAX_RANK: Final = 16

#: The devices that read an adapter's factors where they lie, or have them in their own memory.
_DEVICES: Final = ("cpu", "cuda", "openvino:CPU")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterPlan:
    """Bounds, the adapters that are loaded with the model, and which layers they may change."""

    num_places: int
    rank: int
    sources: Mapping[str, str]
    #: `lora_modules`, as it is written; None where the adapters say it.
    modules: str | Sequence[str] | None
    configs: Sequence[AdapterConfig]

    @classmethod
    def of_model(cls, config: Mapping[str, object], report: Report) -> AdapterPlan | None:
        """Read it; None for a model that takes no adapters. Raises InvalidModel."""
        if not takes_adapters(config):
            return None
        sources = cast("Mapping[str, str]", config.get("adapters", {}))
        num_places = cast("int", config.get("max_adapters") or max(_MAX_ADAPTERS, len(sources)))
        if len(sources) > num_places:
            message = f"{len(sources)} adapters are named, but `max_adapters` is {num_places}."
            raise InvalidModel(message)
        return cls(
            num_places=num_places,
            rank=cast("int", config.get("max_lora_rank", _MAX_RANK)),
            sources=sources,
            modules=cast("str | Sequence[str] | None", config.get("lora_modules")),
            configs=[_read(name, source, report) for name, source in sources.items()],
        )

    @property
    def shape(self) -> str:
        """What a pass's time depends on: bounds and layers, and not which adapters there are."""
        targets = sorted({repr(config.targets) for config in self.configs})
        return repr((self.num_places, self.rank, self.modules or targets))

    def open(
        self, model: PreTrainedModel, label: str, report: Report
    ) -> tuple[AdapterStack, AdapterTable]:
        """Change a model's layers, and load what the model file names. Raises InvalidModel.

        Raises ModelLoadError for a device that does not serve adapters.
        """
        if label.partition(":")[0] not in _DEVICES and label not in _DEVICES:
            message = (
                f"Adapters are not served on {label}, which would copy them for each pass. Name "
                f"another device in the model file: one of {', '.join(_DEVICES)}."
            )
            raise ModelLoadError(message)
        layers = find_layers(model, self._covers)
        if not layers:
            raise InvalidModel(self._no_layers())
        stack = AdapterStack(model, layers, num_places=self.num_places, rank=self.rank)
        table = AdapterTable(stack)
        for name, source in self.sources.items():
            table.load(name, source, report=report)
        return stack, table

    def _covers(self, layer: str) -> bool:
        if self.modules is not None:
            return self.modules == ALL_LINEAR or matches(layer, self.modules)
        return not self.configs or any(config.covers(layer) for config in self.configs)

    def _no_layers(self) -> str:
        if self.modules is None:
            return "None of the adapters changes a linear layer of this model."
        return f"`lora_modules` names no linear layer of this model: {self.modules!r}."


def _read(name: str, source: str, report: Report) -> AdapterConfig:
    try:
        return AdapterConfig.read(resolve_source(source, report))
    except (InvalidModel, ModelLoadError) as error:
        raise InvalidModel(f"Adapter {name!r} was not loaded: {error.message}") from error
