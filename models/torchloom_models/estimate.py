"""Estimate: what a model will hold in memory, from the sizes of its files. Opens none of them.

Knows no kind and no dtype: weights count as large as they are stored.
"""

from __future__ import annotations

from pathlib import Path

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.source import find_local
from torchloom_models.weights import find_weights


def estimate_bytes(source: str) -> int:
    """Add up the weights of a source; 0 for what is not on this machine yet, or cannot be read."""
    try:
        path = find_local(source)
        if path is None:
            return 0
        if path.is_file():
            return path.stat().st_size
        return sum(file.stat().st_size for folder in _parts(path) for file in _weights(folder))
    except (InvalidModel, ModelLoadError, OSError, ValueError):
        return 0  # loading will say what is wrong


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
