"""AdapterConfig: `adapter_config.json` as PEFT writes it. Reads no weights and knows no model.

What would change an answer and is not served here is refused by name, never passed over.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar, cast

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.weights import read_json


T = TypeVar("T")

#: The file's name in an adapter's folder.
FILE: Final = "adapter_config.json"

#: What stands for every linear layer but the head.
ALL_LINEAR: Final = "all-linear"

#: What is read below.
_READ: Final = frozenset(
    {
        "peft_type",
        "r",
        "lora_alpha",
        "use_rslora",
        "target_modules",
        "exclude_modules",
        "layers_to_transform",
        "layers_pattern",
        "rank_pattern",
        "alpha_pattern",
        "bias",
        "init_lora_weights",
    }
)

#: What says how an adapter was trained, or of what, and changes no answer.
_HARMLESS: Final = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "eva_config",
        "fan_in_fan_out",
        "inference_mode",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "task_type",
    }
)

#: Ways to begin that leave the model's own weights as they are. Others are told from them by name.
_PLAIN_BEGINNINGS: Final = (None, True, False, "gaussian", "eva", "orthogonal")

#: What those that are refused by name are.
_MEANINGS: Final[Mapping[str, str]] = {
    "use_dora": "DoRA, which scales the columns of whole weights",
    "modules_to_save": "whole layers in place of the model's own",
    "trainable_token_indices": "embeddings of tokens",
    "layer_replication": "layers that are there several times",
    "target_parameters": "parameters that are no linear layer's weight",
    "alora_invocation_tokens": "adapters that begin at a token",
    "lora_bias": "biases of its own",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """Which layers an adapter changes, at which rank, and how strongly.

    `targets` are ends of names, a regular expression, or None for whichever layers its file holds.
    """

    rank: int
    alpha: float
    is_rank_stabilized: bool = False
    targets: Collection[str] | str | None = None
    excluded: Collection[str] | str = ()
    layers: frozenset[int] | None = None
    layers_patterns: Collection[str] = ()
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read it from an adapter's folder. Raises InvalidModel for what is missing or unserved."""
        if not folder.is_dir():
            raise InvalidModel(f"The adapter {str(folder)!r} is not a folder.")
        try:
            values = read_json(folder / FILE)
        except ModelLoadError as error:
            raise InvalidModel(_no_config(folder, error)) from error
        try:
            return cls.from_values(values)
        except InvalidModel as error:
            message = f"The adapter in {str(folder)!r} cannot be served: {error.message}"
            raise InvalidModel(message) from error

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Self:
        """Check what the file says. Raises InvalidModel."""
        _refuse_unserved(values)
        return cls(
            rank=_rank(values.get("r"), "r"),
            alpha=_number(values.get("lora_alpha"), "lora_alpha"),
            is_rank_stabilized=values.get("use_rslora") is True,
            targets=_names_or_pattern(values.get("target_modules"), "target_modules"),
            excluded=_names_or_pattern(values.get("exclude_modules"), "exclude_modules") or (),
            layers=_layers(values.get("layers_to_transform")),
            layers_patterns=_patterns(values.get("layers_pattern")),
            rank_pattern={
                key: _rank(value, f"rank_pattern.{key}")
                for key, value in _mapping(values, "rank_pattern").items()
            },
            alpha_pattern={
                key: _number(value, f"alpha_pattern.{key}")
                for key, value in _mapping(values, "alpha_pattern").items()
            },
        )

    @property
    def max_rank(self) -> int:
        """The highest rank of any layer."""
        return max(self.rank, *self.rank_pattern.values(), 0)

    def covers(self, layer: str) -> bool:
        """Say whether it changes a linear layer of this name."""
        if matches(layer, self.excluded):
            return False
        is_any = self.targets is None or self.targets == ALL_LINEAR
        if not (is_any or matches(layer, self.targets or ())):
            return False
        return self.layers is None or _number_of(layer, self.layers_patterns) in self.layers

    def rank_of(self, layer: str) -> int:
        """Give the rank that a layer has."""
        return _of_pattern(self.rank_pattern, layer, self.rank)

    def scaling_of(self, layer: str) -> float:
        """Give the factor of what is added to a layer's output."""
        rank = self.rank_of(layer)
        alpha = _of_pattern(self.alpha_pattern, layer, self.alpha)
        return alpha / math.sqrt(rank) if self.is_rank_stabilized else alpha / rank


def matches(layer: str, targets: Collection[str] | str) -> bool:
    """Say whether a layer's name ends with one of some names, or is all of a pattern's."""
    if isinstance(targets, str):
        return re.fullmatch(targets, layer) is not None
    return any(layer == name or layer.endswith(f".{name}") for name in targets)


def _of_pattern(patterns: Mapping[str, T], layer: str, otherwise: T) -> T:
    """Give the value of the first pattern that a layer's name ends with."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return value
    return otherwise


def _number_of(layer: str, patterns: Collection[str]) -> int | None:
    """Give the number of the block that a layer is in: `model.layers.3.…` is in 3."""
    for pattern in patterns or (r"[^.]*",):
        match = re.match(rf".*?\.{pattern}\.(\d+)\.", layer)
        if match is not None:
            return int(match[1])
    return None


def _refuse_unserved(values: Mapping[str, object]) -> None:
    kind = values.get("peft_type")
    if kind != "LORA":
        raise InvalidModel(f"its `peft_type` is {kind!r}; LORA adapters alone are served.")
    if values.get("bias", "none") != "none":
        message = f"`bias: {values['bias']}` changes the model's own biases, which is not served."
        raise InvalidModel(message)
    beginning = values.get("init_lora_weights")
    if beginning not in _PLAIN_BEGINNINGS:
        message = (
            f"`init_lora_weights: {beginning}` changes the model's own weights. Convert it as PEFT "
            "describes (`path_initial_model_for_weight_conversion`), which leaves a plain adapter."
        )
        raise InvalidModel(message)
    for name in sorted(set(values) - _READ - _HARMLESS):
        if values[name]:
            meaning = f" ({_MEANINGS[name]})" if name in _MEANINGS else ""
            raise InvalidModel(f"it has `{name}`{meaning}, which is not served.")


def _rank(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidModel(f"`{name}` must be a whole number from 1 on, not {value!r}.")
    return value


def _number(value: object, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise InvalidModel(f"`{name}` must be a number, not {value!r}.")
    return float(value)


def _mapping(values: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = values.get(name) or {}
    if not isinstance(value, Mapping):
        raise InvalidModel(f"`{name}` must map patterns to numbers.")
    for pattern in value:
        _check_pattern(str(pattern), name)
    return cast("Mapping[str, object]", value)


def _names_or_pattern(value: object, name: str) -> Collection[str] | str | None:
    if isinstance(value, str):
        if value != ALL_LINEAR:
            _check_pattern(value, name)
        return value
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidModel(f"`{name}` must be a list of names, or a regular expression.")
    return tuple(value)


def _layers(value: object) -> frozenset[int] | None:
    if value is None:
        return None
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in numbers):
        raise InvalidModel("`layers_to_transform` must be a number or a list of numbers.")
    return frozenset(cast("list[int]", numbers))


def _patterns(value: object) -> Collection[str]:
    patterns = [value] if isinstance(value, str) else value or []
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        raise InvalidModel("`layers_pattern` must be a name or a list of names.")
    for pattern in patterns:
        _check_pattern(pattern, "layers_pattern")
    return tuple(patterns)


def _check_pattern(pattern: str, name: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        message = f"`{name}` holds {pattern!r}, which is no regular expression: {error}."
        raise InvalidModel(message) from error


def _no_config(folder: Path, error: ModelLoadError) -> str:
    if (folder / FILE).exists():
        return error.message
    return (
        f"{str(folder)!r} has no {FILE}. An adapter's folder is laid out as `save_pretrained` of "
        "PEFT writes it."
    )
