"""AdapterTable: which adapters are loaded, by name, and where; loads and unloads them whole.

Knows no sequences: whoever loads says which places they still use.
"""

from __future__ import annotations

from collections.abc import Collection

from torchloom.deployment import Report
from torchloom.errors import InvalidInput, InvalidModel, ModelLoadError, nearest
from torchloom_models.llm.adapter.adapter import Adapter
from torchloom_models.llm.adapter.config import AdapterConfig
from torchloom_models.llm.adapter.stack import AdapterStack
from torchloom_models.llm.adapter.weights import AdapterWeights
from torchloom_models.source import resolve_source


class AdapterTable:
    """The adapters of one engine. What fails changes nothing."""

    def __init__(self, stack: AdapterStack) -> None:
        self._stack = stack
        self._adapters: dict[str, Adapter] = {}
        self._num_loads = 0

    @property
    def names(self) -> list[str]:
        """The names of those that may be asked for."""
        return list(self._adapters)

    def find(self, name: str) -> Adapter:
        """Give one by name. Raises InvalidInput with the nearest name."""
        adapter = self._adapters.get(name)
        if adapter is None:
            known = nearest(name, self._adapters) or " None is loaded."
            raise InvalidInput(f"There is no adapter {name!r}.{known}")
        return adapter

    def load(
        self, name: str, source: str, *, used: Collection[int] = (), report: Report | None = None
    ) -> None:
        """Read an adapter and put it into a place that is neither taken nor `used`.

        The same source under the same name again changes nothing. Raises InvalidModel for whatever
        is missing, broken, of another model or too large; InvalidModel too where there is no place.
        """
        there = self._adapters.get(name)
        if there is not None:
            if there.source == source:
                return
            message = f"Adapter {name!r} is loaded already, from {there.source!r}. Unload it first."
            raise InvalidModel(message)
        place = self._free_place(name, used)
        weights = self._read(name, source, report or (lambda *_: None))
        self._stack.put(place, weights)
        self._num_loads += 1
        self._adapters[name] = Adapter(name=name, source=source, place=place, root=-self._num_loads)

    def unload(self, name: str) -> None:
        """Let nobody ask for an adapter any more; nothing happens if it is not there.

        Sequences that have it go on: what is in its place stays until another is loaded there.
        """
        self._adapters.pop(name, None)

    def _read(self, name: str, source: str, report: Report) -> AdapterWeights:
        try:
            folder = resolve_source(source, report)
            config = AdapterConfig.read(folder)
            weights = AdapterWeights.read(folder, config)
            self._stack.check(weights)
            self._check_whole(weights, config)
        except (InvalidModel, ModelLoadError) as error:
            raise InvalidModel(f"Adapter {name!r} was not loaded: {error.message}") from error
        return weights

    def _check_whole(self, weights: AdapterWeights, config: AdapterConfig) -> None:
        """See whether there are factors for every layer that the configuration names."""
        if config.targets is None:
            return
        named = [layer for layer in self._stack.layers if config.covers(layer)]
        missing = [layer for layer in named if layer not in weights.layers]
        if missing:
            message = f"it lacks the factors of {len(missing)} layers, {missing[0]!r} among them."
            raise InvalidModel(message)

    def _free_place(self, name: str, used: Collection[int]) -> int:
        num_places = self._stack.num_places
        taken = {adapter.place for adapter in self._adapters.values()}
        free = set(range(num_places)) - taken
        if not free:
            message = (
                f"Adapter {name!r} was not loaded: the model holds {num_places} already, which is "
                "its `max_adapters`. Unload another, or write a higher number in the model file."
            )
            raise InvalidModel(message)
        if free <= set(used):
            message = (
                f"Adapter {name!r} was not loaded: the place of one that was unloaded is still "
                "used by its last answers. Try again when they have ended."
            )
            raise InvalidModel(message)
        return min(free - set(used))

    def __repr__(self) -> str:
        """Say how many places are taken."""
        return f"<AdapterTable {len(self._adapters)} of {self._stack.num_places} places taken>"
