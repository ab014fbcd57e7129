"""What `vllm_engine_config` says, in the words of a model file of kind `llm`. Opens nothing.

The keys are those of vLLM's engine arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torchloom_models.archive.llm.translation import Translation


#: Keys that say where the model is, and what it is called: they are read elsewhere.
_ELSEWHERE: Final = frozenset({"model", "revision", "served_model_name", "download_dir"})

_COUNTS: Final[Mapping[str, str]] = {"max_model_len": "max_length", "max_num_seqs": "max_sequences"}

_FLAGS: Final[Mapping[str, str]] = {"enable_prefix_caching": "prefix_cache"}

_LORA: Final = frozenset({"enable_lora", "max_loras", "max_lora_rank"})

_GUESSES: Final = frozenset({"speculative_model", "num_speculative_tokens"})

#: In place of a draft model: look the prompt up.
_LOOK_UP: Final = "[ngram]"

#: The most tokens that are guessed at once.
_MAX_GUESS: Final = 32

#: Keys that make another model of the weights, of which nothing is known here: they are refused.
_CHANGING: Final = frozenset({"hf_overrides", "quantization", "rope_scaling", "rope_theta"})

_FORMATS: Final = frozenset({"auto", "safetensors"})

#: Why some keys count for nothing; of all others there is no such thing here.
_REASONS: Final[Mapping[str, str]] = {
    "tensor_parallel_size": "a model runs on one device; `minWorkers` gives it several",
    "pipeline_parallel_size": "a model runs on one device; `minWorkers` gives it several",
    "gpu_memory_utilization": "the cache takes half of what is free, see docs/llm.md",
    "trust_remote_code": "no code of a model is run",
    "max_cpu_loras": "all adapters are held where the model is",
}


def translate_vllm(config: Mapping[str, object], *, num_adapters: int, whose: str) -> Translation:
    """Read all keys but those of `_ELSEWHERE`. Raises InvalidModel for what cannot be served."""
    made = Translation(section="vllm_engine_config", whose=whose)
    said = {key: v for key, v in config.items() if v is not None and key not in _ELSEWHERE}
    for key, value in said.items():
        if key in _COUNTS:
            made.fields[_COUNTS[key]] = made.count(key, value)
        elif key in _FLAGS:
            made.fields[_FLAGS[key]] = made.flag(key, value)
        elif key == "dtype":
            made.fields["dtype"] = made.dtype(key, value)
        elif key == "enforce_eager":
            made.fields |= {"compile": "eager"} if made.flag(key, value) else {}
        elif key not in _LORA | _GUESSES:
            _pass_over(made, key, value, config)
    _read_lora(made, said, num_adapters)
    _read_guesses(made, said)
    return made


def _pass_over(made: Translation, key: str, value: object, config: Mapping[str, object]) -> None:
    """Note what counts for nothing; refuse what would make the answers another model's."""
    is_other = key == "tokenizer" and value != config.get("model")
    is_format = key == "load_format" and value not in _FORMATS
    if key in _CHANGING or is_other or is_format:
        how = (
            "TorchLoom's engine serves a folder's safetensors with the folder's own tokenizer and "
            "configuration: leave the key out, or change the folder."
        )
        raise made.wrong(key, value, how)
    is_default = value is False or (key.endswith("_parallel_size") and value in (0, 1))
    if not is_default and key not in ("tokenizer", "load_format"):
        made.pass_over(key, value, _REASONS.get(key, "TorchLoom's engine has no such setting"))


def _read_lora(made: Translation, said: Mapping[str, object], num_adapters: int) -> None:
    """Make room for adapters, where there are any or may be."""
    if not (num_adapters or said.get("enable_lora")):
        return
    made.fields["adapters"] = {}
    if "max_loras" in said:
        most = made.count("max_loras", said["max_loras"])
        made.fields["max_adapters"] = max(most, num_adapters)
    if "max_lora_rank" in said:
        made.fields["max_lora_rank"] = made.count("max_lora_rank", said["max_lora_rank"])


def _read_guesses(made: Translation, said: Mapping[str, object]) -> None:
    """Have tokens guessed as is asked for; that changes the time, and no answer."""
    if "speculative_model" not in said:
        return
    draft = made.text("speculative_model", said["speculative_model"])
    number = made.count("num_speculative_tokens", said.get("num_speculative_tokens", 4))
    number = min(number, _MAX_GUESS)
    made.fields["speculation"] = (
        {"prompt_lookup": number} if draft == _LOOK_UP else {"draft": draft, "tokens": number}
    )
