"""AdapterWeights: what an adapter adds to layers, read from `adapter_model.safetensors`.

Weights are data: a pickle is refused. Knows no model, and no device.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

import torch
from safetensors.torch import load_file
from torch import Tensor

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.llm.adapter.config import AdapterConfig
from torchloom_models.weights import LOAD_ERRORS, read_header


#: The file's name in an adapter's folder, and those of the pickles that older ones have.
FILE: Final = "adapter_model.safetensors"
_PICKLE: Final = "adapter_model.bin"

#: What PEFT puts before the name of each layer.
_PREFIX: Final = "base_model.model."

_NAME: Final = re.compile(r"(?P<layer>.+)\.lora_(?P<half>[AB])\.weight")


class Factors(NamedTuple):
    """What is added to a layer's output [..., out] for x [..., in]: x · downᵀ · up.

    `down` is [rank, in], `up` [rank, out]; the adapter's scaling is in `up`.
    """

    down: Tensor
    up: Tensor


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """The factors of each layer, by its name in the model, in float32 on the CPU."""

    layers: Mapping[str, Factors]

    @classmethod
    def read(cls, folder: Path, config: AdapterConfig) -> Self:
        """Read a folder's weights, and compare them with its configuration.

        Raises InvalidModel for what is missing, broken, no number, or more than LoRA.
        """
        file = folder / FILE
        try:
            halves = _halves(_load(file))
            return cls(
                {
                    layer: _factors(layer, halves, config)
                    for layer in dict.fromkeys(name for name, _ in halves)
                }
            )
        except InvalidModel as error:
            message = f"The adapter in {str(folder)!r} cannot be served: {error.message}"
            raise InvalidModel(message) from error


def _load(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        if (file.parent / _PICKLE).is_file():
            message = (
                f"its weights are a pickle ({_PICKLE}), which can run code as it is read. Save "
                "them as safetensors: load the adapter where you trust it, and "
                "`model.save_pretrained(folder, safe_serialization=True)`."
            )
            raise InvalidModel(message)
        raise InvalidModel(f"there is no {FILE} in it.")
    try:
        read_header(file)
        return load_file(file)
    except ModelLoadError as error:
        raise InvalidModel(error.message) from error
    except LOAD_ERRORS as error:
        raise InvalidModel(f"{FILE} could not be read: {error}.") from error


def _halves(tensors: Mapping[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """Give each tensor by its layer's name and which factor it is, `A` or `B`."""
    if not tensors:
        raise InvalidModel(f"{FILE} holds no tensors.")
    halves: dict[tuple[str, str], Tensor] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name.removeprefix(_PREFIX))
        if match is None:
            raise InvalidModel(f"{FILE} holds {name!r}, which is no factor of a linear layer.")
        halves[match["layer"], match["half"]] = tensor
    return halves


def _factors(
    layer: str, halves: Mapping[tuple[str, str], Tensor], config: AdapterConfig
) -> Factors:
    if not config.covers(layer):
        message = f"it holds factors of layer {layer!r}, which its configuration does not name."
        raise InvalidModel(message)
    down, up = (_half(layer, half, halves) for half in ("A", "B"))
    rank = config.rank_of(layer)
    if len(down) != rank or up.shape[1] != rank:
        message = (
            f"layer {layer!r} should have rank {rank}, but its factors are "
            f"{list(down.shape)} and {list(up.shape)}."
        )
        raise InvalidModel(message)
    return Factors(down, up.t().contiguous() * config.scaling_of(layer))


def _half(layer: str, half: str, halves: Mapping[tuple[str, str], Tensor]) -> Tensor:
    tensor = halves.get((layer, half))
    if tensor is None:
        raise InvalidModel(f"layer {layer!r} lacks its factor {half}.")
    if tensor.dim() != 2 or not tensor.is_floating_point():  # noqa: PLR2004 - a matrix
        what = f"{list(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
        raise InvalidModel(f"factor {half} of layer {layer!r} is {what}, and no matrix.")
    tensor = tensor.float()
    if not bool(torch.isfinite(tensor).all()):
        raise InvalidModel(f"factor {half} of layer {layer!r} holds NaN or infinity.")
    return tensor
