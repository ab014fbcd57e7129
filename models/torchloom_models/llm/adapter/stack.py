"""AdapterStack: the factors of all adapters of a model, in places, and what runs them in one pass.

Places are written in memory that stays where it is: code that was compiled, recorded or lent this
memory once serves whatever adapters come and go. Knows no names, no sequences and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from torchloom.errors import InvalidModel
from torchloom_models.compiler import Dim, Dims
from torchloom_models.llm.adapter.adapted_linear import AdaptedLinear, AdaptedPass, Mix, Mixing
from torchloom_models.llm.adapter.weights import AdapterWeights
from torchloom_models.llm.attention import ProbeCache
from torchloom_models.llm.cache.kv_cache import make_zeros
from torchloom_models.packed_linear import PackedLinear


#: The rows that a model is probed with: layers that see them as rows see another number of tokens.
_PROBE_ROWS: Final = 2


class Mixer(Protocol):
    """What runners ask of whatever mixes adapters into their passes."""

    def wrap(self, module: nn.Module) -> nn.Module:
        """Give the pass that takes what `arguments` gives."""
        ...

    def dims(self, rows: Mapping[int, Dim], dims: Sequence[Mapping[int, Dim]]) -> Dims:
        """Give the dynamic dimensions of `arguments`; `rows` are those of what is mixed by row."""
        ...

    def arguments(self, places: Sequence[int], arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Add the place of each row, or NO_PLACE, and all factors, to a pass's own arguments."""
        ...

    @property
    def num_held(self) -> int:
        """How many of the last arguments are memory that stays where it is."""
        ...

    def using(self, places: Sequence[int]) -> AbstractContextManager[None]:
        """Run the model itself within, eagerly, each row with the adapter at its place."""
        ...


class NoMixer:
    """For models without adapters: passes are what they are. A Mixer."""

    num_held = 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Give the pass itself."""
        return module

    def dims(self, rows: Mapping[int, Dim], dims: Sequence[Mapping[int, Dim]]) -> Dims:
        """Give those of the pass."""
        del rows
        return dims

    def arguments(self, places: Sequence[int], arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Give the pass's own."""
        del places
        return tuple(arguments)

    def using(self, places: Sequence[int]) -> AbstractContextManager[None]:
        """Do nothing."""
        del places
        return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSize:
    """What a linear layer takes and gives."""

    num_in: int
    num_out: int


class AdapterStack:
    """`num_places` adapters of at most `rank`, on some linear layers of a model. A Mixer.

    Making one puts AdaptedLinear in the place of those layers; the model must not have been
    compiled yet.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Mapping[str, LayerSize],
        *,
        num_places: int,
        rank: int,
    ) -> None:
        self.num_places = num_places
        self.rank = rank
        self._layers = dict(layers)
        self._device = str(model.device)
        self._mixing = Mixing()
        width = num_places * rank
        self._factors = tuple(
            make_zeros((width, size), model.dtype, self._device)
            for layer in layers.values()
            for size in (layer.num_in, layer.num_out)
        )
        for number, name in enumerate(layers):
            base = model.get_submodule(name)
            model.set_submodule(name, AdaptedLinear(base, self._mixing, number))

    @property
    def layers(self) -> Collection[str]:
        """The names of the layers that adapters may change."""
        return self._layers.keys()

    @property
    def num_held(self) -> int:
        """How many factors there are."""
        return len(self._factors)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Give a pass that takes places first and factors last."""
        return AdaptedPass(module, self._mixing, num_factors=self.num_held, rank=self.rank)

    def dims(self, rows: Mapping[int, Dim], dims: Sequence[Mapping[int, Dim]]) -> Dims:
        """Give places the dimension of rows; factors are of one size."""
        return [rows, *dims, *[{}] * self.num_held]

    def arguments(self, places: Sequence[int], arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Put places first and factors last."""
        # No inference tensors: torch.compile has other code for those.
        with torch.inference_mode(mode=False):
            own = torch.tensor(places, device=self._device)
        return (own, *arguments, *self._factors)

    def using(self, places: Sequence[int]) -> AbstractContextManager[None]:
        """Run the model itself within, each row with the adapter at its place."""
        own = torch.tensor(places, device=self._device)
        return self._mixing.using(Mix.of(own, self._factors, self.rank))

    def check(self, weights: AdapterWeights) -> None:
        """See whether an adapter fits. Raises InvalidModel, by the name of what does not."""
        for name, factors in weights.layers.items():
            size = self._layers.get(name)
            if size is None:
                raise InvalidModel(self._no_layer(name))
            rank = len(factors.down)
            if rank > self.rank:
                message = f"it has rank {rank}, but the model's `max_lora_rank` is {self.rank}."
                raise InvalidModel(message)
            found = (factors.down.shape[1], factors.up.shape[1])
            if found != (size.num_in, size.num_out):
                message = (
                    f"it was made for another model: layer {name!r} takes {size.num_in} numbers "
                    f"and gives {size.num_out} here, but {found[0]} and {found[1]} there."
                )
                raise InvalidModel(message)

    @torch.inference_mode()
    def put(self, place: int, weights: AdapterWeights) -> None:
        """Write an adapter that fits to a place, all of it."""
        self.clear(place)
        start = place * self.rank
        for number, name in enumerate(self._layers):
            factors = weights.layers.get(name)
            if factors is not None:
                for half, values in enumerate(factors):
                    own = self._factors[2 * number + half]
                    own[start : start + len(values)].copy_(values)

    @torch.inference_mode()
    def clear(self, place: int) -> None:
        """Let a place add nothing."""
        for own in self._factors:
            own[place * self.rank : (place + 1) * self.rank].zero_()

    def _no_layer(self, name: str) -> str:
        if len(self._layers) == 0:
            return f"it changes layer {name!r}, but this model lets no layer be changed."
        return (
            f"it changes layer {name!r}, which this model does not have, or does not let adapters "
            f"change: those may change {len(self._layers)} layers, {next(iter(self._layers))!r} "
            "the first of them. Write `lora_modules: all-linear` for all that can be."
        )

    def __repr__(self) -> str:
        """Say its size."""
        size = sum(factor.numel() * factor.itemsize for factor in self._factors)
        return (
            f"<AdapterStack {self.num_places} places of rank {self.rank} in {len(self._layers)} "
            f"layers, {size / 2**20:.0f} MiB>"
        )


def find_layers(model: PreTrainedModel, covers: Callable[[str], bool]) -> dict[str, LayerSize]:
    """Find the linear layers that can have adapters here, as far as `covers` lets them in by name.

    The head is none of them, and no layer to which rows are not shown as rows, such as experts,
    whose tokens are sorted anew.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # theirs
    named = {
        name: part
        for name, part in model.named_modules()
        if _is_linear(part) and part is not head and covers(name)
    }
    seen = _seen_as_rows(model, named)
    return {name: _size_of(part) for name, part in named.items() if name in seen}


@torch.inference_mode()
def _seen_as_rows(model: PreTrainedModel, named: Mapping[str, nn.Module]) -> set[str]:
    """Run some rows of one token; say which layers are given [rows, 1, in]."""
    seen: set[str] = set()

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs[0].shape[:-1] == (_PROBE_ROWS, 1):
                seen.add(name)

        return look

    hooks = [part.register_forward_pre_hook(note(name)) for name, part in named.items()]
    zeros = torch.zeros((_PROBE_ROWS, 1), dtype=torch.long, device=model.device)
    try:
        model(input_ids=zeros, position_ids=zeros, past_key_values=ProbeCache(), use_cache=True)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _is_linear(module: nn.Module) -> bool:
    return type(module) in {nn.Linear, PackedLinear, Conv1D}


def _size_of(module: nn.Module) -> LayerSize:
    if isinstance(module, Conv1D):
        num_in, num_out = module.weight.shape
        return LayerSize(num_in=num_in, num_out=num_out)
    assert isinstance(module, nn.Linear | PackedLinear)
    return LayerSize(num_in=module.in_features, num_out=module.out_features)
