"""A look at a model's files before anything loads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from torchloom.errors import ModelLoadError
from torchloom_models.weights import (
    check_folder,
    digest_of_folder,
    find_weights,
    read_header,
    read_json,
    read_json_list,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a model's folder: a configuration and one file of weights."""
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    save_file({"w": np.ones((4, 4), np.float32)}, tmp_path / "model.safetensors")
    return tmp_path


def test_passes_a_whole_folder(folder: Path) -> None:
    """Configuration and whole weights are enough."""
    check_folder(folder)

    assert read_header(folder / "model.safetensors")["w"] == {
        "dtype": "F32",
        "shape": [4, 4],
        "data_offsets": [0, 64],
    }


def test_wants_a_folder(tmp_path: Path) -> None:
    """A file is no model folder."""
    with pytest.raises(ModelLoadError, match="not a folder"):
        check_folder(tmp_path / "absent")


def test_wants_a_configuration(folder: Path) -> None:
    """The message says which file is not there, and what a folder looks like."""
    (folder / "config.json").unlink()

    with pytest.raises(ModelLoadError, match=r"has no config\.json.*save_pretrained"):
        check_folder(folder)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_wants_a_configuration_that_can_be_read(folder: Path, text: str) -> None:
    """A configuration that is cut short, or is no object, is named."""
    (folder / "config.json").write_text(text)

    with pytest.raises(ModelLoadError, match=r"config\.json"):
        check_folder(folder)


@pytest.mark.parametrize("size", [0, 4, 20, 100])
def test_finds_weights_that_are_cut_short(folder: Path, size: int) -> None:
    """A download that ended early is found at once, and named."""
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])

    with pytest.raises(ModelLoadError, match=r"model\.safetensors' is broken.*etch it again"):
        check_folder(folder)


@pytest.mark.parametrize("content", [b"\x00" * 64, b"<html>not found</html>" * 9, b"\xff" * 64])
def test_finds_files_that_are_no_safetensors(folder: Path, content: bytes) -> None:
    """Whatever was saved under that name, it is not taken for weights."""
    (folder / "model.safetensors").write_bytes(content)

    with pytest.raises(ModelLoadError, match="is broken"):
        check_folder(folder)


def test_refuses_pickles_by_name(folder: Path) -> None:
    """A folder with pickles alone is refused, with the way to convert them."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(ModelLoadError, match=r"pytorch_model\.bin.*safe_serialization=True"):
        check_folder(folder)


def test_says_that_there_are_no_weights(folder: Path) -> None:
    """A configuration alone is no model."""
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelLoadError, match="holds no weights"):
        check_folder(folder)


def test_follows_the_index_of_shards(folder: Path) -> None:
    """Shards are what the index names, and each of them must be there."""
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {"w": "model-1.safetensors", "v": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(ModelLoadError, match=r"lacks model-2\.safetensors"):
        check_folder(folder)

    save_file({"v": np.ones(2, np.float32)}, folder / "model-2.safetensors")
    assert [file.name for file in find_weights(folder)] == [
        "model-1.safetensors",
        "model-2.safetensors",
    ]


def test_reads_lists_of_objects_alone(tmp_path: Path) -> None:
    """A JSON file of another shape is named."""
    (tmp_path / "a.json").write_text("[1]")

    with pytest.raises(ModelLoadError, match="list of objects"):
        read_json_list(tmp_path / "a.json")
    with pytest.raises(ModelLoadError, match="a JSON object"):
        read_json(tmp_path / "a.json")


def test_digests_shapes_and_configuration_but_no_values(folder: Path) -> None:
    """Code is shared by models that differ in weights alone."""
    before = digest_of_folder(folder)
    save_file({"w": np.zeros((4, 4), np.float32)}, folder / "model.safetensors")
    assert digest_of_folder(folder) == before

    save_file({"w": np.zeros((4, 5), np.float32)}, folder / "model.safetensors")
    other_shape = digest_of_folder(folder)
    (folder / "config.json").write_text('{"model_type": "gpt2"}')

    assert len({before, other_shape, digest_of_folder(folder)}) == 3
