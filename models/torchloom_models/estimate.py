"""Estimate: what a model will hold in memory, from the sizes of its files. Opens none of them.

Knows no kind and no dtype: weights count as large as they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torchloom.deployment import Report
from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.source import find_local, resolve_source
from torchloom_models.weights import find_weights


def estimate_bytes(source: str) -> int:
    """Add up the weights of a source; 0 for what is not on this machine yet, or cannot be read."""
    try:
        path = find_local(source)
    except (InvalidModel, ModelLoadError, OSError, ValueError):
        return 0  # loading will say what is wrong
    return 0 if path is None else _bytes_at(path)


def fetch_bytes(config: Mapping[str, object], report: Report) -> int:
    """Fetch the source of a model file, and add up its weights: a Preparation.

    Raises ModelLoadError where it cannot be fetched.
    """
    return _bytes_at(resolve_source(str(config["source"]), report))


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
