"""EncoderFolder: what the files of a text encoder say. Loads no weights and imports no framework.

Two layouts: that of sentence-transformers (`modules.json` lists a Transformer, then Pooling, Dense
and Normalize), and a plain transformers encoder, which gets mean pooling and vectors of length 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from torchloom.errors import ModelLoadError
from torchloom_models.weights import read_json, read_json_list


#: What sentence-transformers calls its poolings, in its old flags and its new names; and our names.
_POOLINGS: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_length",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last",
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_length",
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseLayer:
    """A linear layer after pooling: the folder of its weights, its sizes, and its activation."""

    folder: Path
    in_features: int
    out_features: int
    bias: bool
    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFolder:
    """How an encoder is put together. `max_length` is None where the folder does not say."""

    transformer: Path
    poolings: tuple[str, ...] = ("mean",)
    dense: tuple[DenseLayer, ...] = ()
    is_normalized: bool = True
    max_length: int | None = None
    is_lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None


def read_encoder_folder(folder: Path) -> EncoderFolder:
    """Read either layout. Raises ModelLoadError for a part that is missing, broken or unknown."""
    if not folder.is_dir():
        raise ModelLoadError(f"The source {str(folder)!r} is not a folder with a model in it.")
    if not (folder / "modules.json").is_file():
        return EncoderFolder(transformer=folder)
    parts = [(str(part["type"]).rpartition(".")[2], part) for part in _read_modules(folder)]
    if not parts or parts[0][0] != "Transformer":
        kind = parts[0][0] if parts else "nothing"
        raise _unknown(folder, f"begins with {kind}, where a Transformer is served")
    transformer = folder / str(parts[0][1]["path"])
    poolings: tuple[str, ...] = ()
    dense: list[DenseLayer] = []
    is_normalized = False
    for kind, part in parts[1:]:
        place = folder / str(part["path"])
        match kind:
            case "Pooling" if not poolings:
                poolings = _read_pooling(place)
            case "Dense" if poolings and not is_normalized:
                dense.append(_read_dense(place))
            case "Normalize" if poolings:
                is_normalized = True
            case "Dropout":
                pass
            case _:
                raise _unknown(folder, f"has a {kind} where none is served")
    sentence = _read_optional(transformer / "sentence_bert_config.json")
    prompts = _read_optional(folder / "config_sentence_transformers.json")
    return EncoderFolder(
        transformer=transformer,
        poolings=poolings or ("mean",),
        dense=tuple(dense),
        is_normalized=is_normalized,
        max_length=cast("int | None", sentence.get("max_seq_length")),
        is_lower_case=bool(sentence.get("do_lower_case", False)),
        prompts=cast("Mapping[str, str]", prompts.get("prompts") or {}),
        default_prompt=cast("str | None", prompts.get("default_prompt_name")),
    )


def _read_modules(folder: Path) -> Sequence[Mapping[str, object]]:
    file = folder / "modules.json"
    modules = read_json_list(file)
    if not all({"type", "path"} <= set(part) for part in modules):
        raise ModelLoadError(f"{str(file)!r}: each module needs a `type` and a `path`.")
    return modules


def _read_pooling(folder: Path) -> tuple[str, ...]:
    config = read_json(folder / "config.json")
    named = config.get("pooling_mode")
    if named is None:
        names = [name for name in _POOLINGS if name.startswith("pooling") and config.get(name)]
    else:
        names = [named] if isinstance(named, str) else list(cast("Sequence[str]", named))
    unknown = [name for name in names if name not in _POOLINGS]
    if unknown:
        raise ModelLoadError(f"{str(folder)!r}: there is no pooling {unknown[0]!r}.")
    if config.get("include_prompt", True) is False:
        raise ModelLoadError(f"{str(folder)!r}: pooling without the prompt is not served.")
    return tuple(_POOLINGS[name] for name in names)


def _read_dense(folder: Path) -> DenseLayer:
    config = read_json(folder / "config.json")
    if config.get("use_residual"):
        raise ModelLoadError(f"{str(folder)!r}: dense layers with a residual are not served.")
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    return DenseLayer(
        folder=folder,
        in_features=cast("int", config["in_features"]),
        out_features=cast("int", config["out_features"]),
        bias=bool(config.get("bias", True)),
        activation=activation.rpartition(".")[2],
    )


def _read_optional(file: Path) -> Mapping[str, object]:
    return read_json(file) if file.is_file() else {}


def _unknown(folder: Path, what: str) -> ModelLoadError:
    message = (
        f"{str(folder / 'modules.json')!r} {what}. Served are a Transformer, Pooling, then any "
        "Dense, then Normalize; serve anything else as kind `module` or `function`."
    )
    return ModelLoadError(message)
