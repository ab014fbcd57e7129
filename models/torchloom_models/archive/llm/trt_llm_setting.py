"""What TensorRT-LLM's handler is told, in the words of a model file. Opens nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torchloom_models.archive.llm.translation import Translation


#: Keys that say where the model is, and what belongs to it: they are read elsewhere.
_ELSEWHERE: Final = frozenset(
    {"model_path", "tokenizer_dir", "adapters", "chat_template", "profile"}
)

_REASONS: Final[Mapping[str, str]] = {
    "engine_dir": "what TensorRT-LLM has compiled is not run: the weights are",
}


def translate_trt_llm(section: Mapping[str, object], *, whose: str) -> Translation:
    """Read all keys of the section but those of `_ELSEWHERE`. Raises InvalidModel."""
    made = Translation(section="handler", whose=whose)
    for key, value in section.items():
        if value is None or key in _ELSEWHERE:
            continue
        if key == "max_batch_size":
            made.fields["max_sequences"] = made.count(key, value)
        elif key == "dtype":
            made.fields["dtype"] = made.dtype(key, value)
        elif key == "kv_cache_config":
            _read_cache(made, made.mapping(key, value))
        else:
            made.pass_over(key, value, _REASONS.get(key, "TorchLoom's engine has no such setting"))
    return made


def _read_cache(made: Translation, cache: Mapping[str, object]) -> None:
    for key, value in cache.items():
        if value is None:
            continue
        if key == "enable_block_reuse":
            made.fields["prefix_cache"] = made.flag(key, value)
        else:
            made.pass_over(
                f"kv_cache_config.{key}",
                value,
                "the cache takes half of what is free, see docs/llm.md",
            )
