"""Estimate: what a model will hold in memory: its weights, and the cache that it sets aside.

A draft model that it brings along counts with it.

Weights count as large as their files are, which are not opened. Of a language model's
`config.json` it reads what a token takes in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import msgspec

from torchloom.byte_count import parse_byte_count
from torchloom.deployment import Report
from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.llm.draft.field import MAX_WRITERS, draft_source
from torchloom_models.source import find_local, resolve_source
from torchloom_models.weights import find_weights


#: Bytes of a number in a cache, by the dtype of a model file or of a `config.json`.
_ITEM_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}


class _Shape(msgspec.Struct):
    """What a `config.json` says of attention; 0 where it does not."""

    num_hidden_layers: int = 0
    num_attention_heads: int = 0
    num_key_value_heads: int | None = None
    hidden_size: int = 0
    head_dim: int | None = None
    dtype: str | None = None
    torch_dtype: str | None = None
    max_position_embeddings: int = 0


def estimate_bytes(config: Mapping[str, object]) -> int:
    """Add up what a model file asks for; 0 of a source that is not here yet, or cannot be read."""
    path, draft = _find(config["source"]), _find(draft_source(config))
    return 0 if path is None else _all_bytes(config, path, draft)


def fetch_bytes(config: Mapping[str, object], report: Report) -> int:
    """Fetch the sources of a model file, and add up what it asks for: a Preparation.

    Raises ModelLoadError where it cannot be fetched.
    """
    path = resolve_source(str(config["source"]), report)
    draft = draft_source(config)
    return _all_bytes(config, path, None if draft is None else resolve_source(draft, report))


def _find(source: object) -> Path | None:
    """Give the place of a source that is on this machine, if it is; loading says what is wrong."""
    try:
        return None if source is None else find_local(str(source))
    except (InvalidModel, ModelLoadError, OSError, ValueError):
        return None


def _all_bytes(config: Mapping[str, object], path: Path, draft: Path | None) -> int:
    count = _bytes_at(path) + _cache_bytes(config, path)
    if draft is not None:
        count += _bytes_at(draft) + _draft_cache_bytes(config, path, draft)
    return count


def _cache_bytes(config: Mapping[str, object], folder: Path) -> int:
    """Give what `kv_cache` sets aside; 0 where it says nothing."""
    stated = cast("Mapping[str, str | int]", config.get("kv_cache", {}))
    if "memory" in stated:
        return parse_byte_count(stated["memory"])
    tokens = cast("int", stated.get("tokens", 0))
    return tokens and tokens * _token_bytes(folder, str(config.get("dtype", "auto")))


def _draft_cache_bytes(config: Mapping[str, object], folder: Path, draft: Path) -> int:
    """Give what is set aside for a draft model: the sequences that it guesses for together."""
    dtype = str(config.get("dtype", "auto"))
    own = _token_bytes(folder, dtype)
    num_tokens = _cache_bytes(config, folder) // own if own else 0
    stated = config.get("max_sequences") or config.get("max_size") or MAX_WRITERS
    longest = cast("int", config.get("max_length") or _read_shape(folder).max_position_embeddings)
    most = min(cast("int", stated), MAX_WRITERS) * longest
    return min(num_tokens, most or num_tokens) * _token_bytes(draft, dtype)


def _token_bytes(folder: Path, dtype: str) -> int:
    """Give what a token takes in the cache of plain attention; 0 where the files do not say.

    Loading knows it better, and says where it does not fit.
    """
    shape = _read_shape(folder)
    heads = shape.num_attention_heads
    width = shape.head_dim or (shape.hidden_size // heads if heads else 0)
    stored = shape.dtype or shape.torch_dtype or ""
    item = _ITEM_BYTES.get(dtype) or _ITEM_BYTES.get(stored, 4)
    return 2 * shape.num_hidden_layers * (shape.num_key_value_heads or heads) * width * item


def _read_shape(folder: Path) -> _Shape:
    try:
        return msgspec.json.decode((folder / "config.json").read_bytes(), type=_Shape)
    except (OSError, msgspec.DecodeError):
        return _Shape()


def _bytes_at(path: Path) -> int:
    try:
        if path.is_file():
            return path.stat().st_size
        return sum(file.stat().st_size for folder in _parts(path) for file in _weights(folder))
    except (ModelLoadError, OSError, ValueError):
        return 0


def _parts(folder: Path) -> list[Path]:
    """List the folders with weights: a pipeline's components; what lies beside is not read."""
    if (folder / "model_index.json").is_file():
        return sorted(part for part in folder.iterdir() if part.is_dir())
    return [folder]


def _weights(folder: Path) -> list[Path]:
    try:
        return find_weights(folder)
    except ModelLoadError:
        return []  # a tokenizer, a scheduler
