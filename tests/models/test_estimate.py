"""Estimate: what a model will hold, by the sizes of its files."""

from __future__ import annotations

import json
from pathlib import Path

from torchloom_models.estimate import estimate_bytes


def _write(file: Path, count: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * count)


def test_adds_up_the_weights_of_a_folder(tmp_path: Path) -> None:
    """Every safetensors file, and nothing else."""
    _write(tmp_path / "model-1.safetensors", 5)
    _write(tmp_path / "model-2.safetensors", 7)
    _write(tmp_path / "tokenizer.json", 100)
    _write(tmp_path / "old" / "model.safetensors", 100)
    assert estimate_bytes(str(tmp_path)) == 12


def test_counts_what_an_index_names(tmp_path: Path) -> None:
    """As loading does: other files beside the index are not read."""
    _write(tmp_path / "a.safetensors", 5)
    _write(tmp_path / "consolidated.safetensors", 100)
    index = {"weight_map": {"w": "a.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert estimate_bytes(str(tmp_path)) == 5


def test_adds_up_the_components_of_a_pipeline(tmp_path: Path) -> None:
    """What lies beside the folders of a pipeline is a copy of it, which nobody reads."""
    _write(tmp_path / "model_index.json", 2)
    _write(tmp_path / "unet" / "model.safetensors", 5)
    _write(tmp_path / "vae" / "model.safetensors", 6)
    _write(tmp_path / "scheduler" / "config.json", 7)
    _write(tmp_path / "all_in_one.safetensors", 100)
    assert estimate_bytes(str(tmp_path)) == 11


def test_counts_a_file_whole(tmp_path: Path) -> None:
    """An exported program is one file."""
    _write(tmp_path / "program.pt2", 9)
    assert estimate_bytes(str(tmp_path / "program.pt2")) == 9


def test_says_nothing_of_what_is_not_here(tmp_path: Path) -> None:
    """Loading will say what is wrong; a hub's model counts once it has told."""
    assert estimate_bytes("hf://org/name@main") == 0
    assert estimate_bytes(str(tmp_path / "none")) == 0
    assert estimate_bytes("package://no_such_package_anywhere/x") == 0
    assert estimate_bytes("package://torchloom/../..") == 0
    assert estimate_bytes("a\0b") == 0
