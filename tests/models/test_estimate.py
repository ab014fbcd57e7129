"""Estimate: what a model will hold, by the sizes of its files."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

from torchloom.deployment import Report
from torchloom.document import Document
from torchloom_models import estimate
from torchloom_models.estimate import estimate_bytes, fetch_bytes
from torchloom_models.spec import parse_model


def _write(file: Path, count: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * count)


def test_adds_up_the_weights_of_a_folder(tmp_path: Path) -> None:
    """Every safetensors file, and nothing else."""
    _write(tmp_path / "model-1.safetensors", 5)
    _write(tmp_path / "model-2.safetensors", 7)
    _write(tmp_path / "tokenizer.json", 100)
    _write(tmp_path / "old" / "model.safetensors", 100)
    assert estimate_bytes({"source": str(tmp_path)}) == 12


def test_counts_what_an_index_names(tmp_path: Path) -> None:
    """As loading does: other files beside the index are not read."""
    _write(tmp_path / "a.safetensors", 5)
    _write(tmp_path / "consolidated.safetensors", 100)
    index = {"weight_map": {"w": "a.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert estimate_bytes({"source": str(tmp_path)}) == 5


def test_adds_up_the_components_of_a_pipeline(tmp_path: Path) -> None:
    """What lies beside the folders of a pipeline is a copy of it, which nobody reads."""
    _write(tmp_path / "model_index.json", 2)
    _write(tmp_path / "unet" / "model.safetensors", 5)
    _write(tmp_path / "vae" / "model.safetensors", 6)
    _write(tmp_path / "scheduler" / "config.json", 7)
    _write(tmp_path / "all_in_one.safetensors", 100)
    assert estimate_bytes({"source": str(tmp_path)}) == 11


def test_counts_a_file_whole(tmp_path: Path) -> None:
    """An exported program is one file."""
    _write(tmp_path / "program.pt2", 9)
    assert estimate_bytes({"source": str(tmp_path / "program.pt2")}) == 9


def test_says_nothing_of_what_is_not_here(tmp_path: Path) -> None:
    """Loading will say what is wrong; a hub's model counts once it has told."""
    assert estimate_bytes({"source": "hf://org/name@main"}) == 0
    assert estimate_bytes({"source": str(tmp_path / "none")}) == 0
    assert estimate_bytes({"source": "package://no_such_package_anywhere/x"}) == 0
    assert estimate_bytes({"source": "package://torchloom/../.."}) == 0
    assert estimate_bytes({"source": "a\0b"}) == 0


def test_counts_what_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's files are there when this returns; a folder that holds no weights counts as 0."""
    _write(tmp_path / "model.safetensors", 5)
    fetched: list[str] = []

    def resolve(source: str, report: Report) -> Path:
        report("fetching", None)
        fetched.append(source)
        return tmp_path if source.startswith("hf://org/name") else tmp_path / "none"

    monkeypatch.setattr(estimate, "resolve_source", resolve)
    assert fetch_bytes({"source": "hf://org/name@main"}, lambda *_: None) == 5
    assert fetch_bytes({"source": "hf://org/other@main"}, lambda *_: None) == 0
    assert fetched == ["hf://org/name@main", "hf://org/other@main"]


@pytest.mark.parametrize(
    ("kv_cache", "dtype", "count"),
    [
        ({"memory": "1KiB"}, "auto", 1024),
        ({"memory": 77}, "auto", 77),
        ({"tokens": 10}, "auto", 10 * 2 * 3 * 2 * 8 * 2),
        ({"tokens": 10}, "float32", 10 * 2 * 3 * 2 * 8 * 4),
        ({}, "auto", 0),
    ],
)
def test_counts_the_cache_that_is_set_aside(
    kv_cache: dict[str, object], dtype: str, count: int, tmp_path: Path
) -> None:
    """Bytes as they are written, tokens by what a token takes; nothing where nothing is said."""
    _write(tmp_path / "model.safetensors", 5)
    shape = {"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
    text = json.dumps({**shape, "hidden_size": 32, "torch_dtype": "bfloat16"})
    (tmp_path / "config.json").write_text(text)

    config = {"source": str(tmp_path), "dtype": dtype, "kv_cache": kv_cache}

    assert estimate_bytes(config) == 5 + count
    assert fetch_bytes(config, lambda *_: None) == 5 + count


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, 0),
        ({"kv_cache": {"tokens": 100}}, 100),
        ({"kv_cache": {"memory": 100 * 192}}, 100),
        ({"kv_cache": {"tokens": 1000}}, 4 * 50),
        ({"kv_cache": {"tokens": 1000}, "max_length": 20}, 4 * 20),
        ({"kv_cache": {"tokens": 1000}, "max_length": 20, "max_sequences": 3}, 3 * 20),
    ],
)
def test_counts_a_draft_model(values: dict[str, object], count: int, tmp_path: Path) -> None:
    """Its weights; and its cache, of the few sequences that it guesses for, where one is stated."""
    shape = {"num_attention_heads": 4, "hidden_size": 32, "max_position_embeddings": 50}
    for name, size, layers in (("model", 100, 3), ("draft", 7, 1)):
        _write(tmp_path / name / "model.safetensors", size)
        text = json.dumps({**shape, "num_hidden_layers": layers, "num_key_value_heads": 1})
        (tmp_path / name / "config.json").write_text(text)
    own = {"source": str(tmp_path / "model"), **values}
    config = {**own, "speculation": {"draft": str(tmp_path / "draft"), "tokens": 4}}

    more = 7 + count * 2 * 8 * 4

    assert estimate_bytes(config) == estimate_bytes(own) + more
    assert fetch_bytes(config, lambda *_: None) == fetch_bytes(own, lambda *_: None) + more
    # One that is not here yet counts once it has been fetched.
    away = {**own, "speculation": {"draft": "hf://org/name@main"}}
    assert estimate_bytes(away) == estimate_bytes(own)


@pytest.mark.parametrize("text", ["{", "[]", '{"num_hidden_layers": "many"}', "{}"])
def test_counts_no_tokens_of_an_unknown_model(text: str, tmp_path: Path) -> None:
    """Loading will know, and says where they do not fit."""
    (tmp_path / "config.json").write_text(text)
    assert estimate_bytes({"source": str(tmp_path), "kv_cache": {"tokens": 10}}) == 0


def test_is_asked_for_where_files_are_to_be_fetched() -> None:
    """A hub's model is fetched before it counts; a folder's size is known at once."""
    model: dict[str, object] = {"name": "m", "kind": "embedder"}
    for source, is_fetched in (("hf://org/name@main", True), ("folder", False)):
        document = Document(data={**model, "source": source})
        prepare = parse_model(document, base=Path()).prepare
        assert (import_module(prepare.partition(":")[0]) is estimate) if is_fetched else not prepare
