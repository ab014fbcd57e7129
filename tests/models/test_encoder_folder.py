"""What the files of a text encoder say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchloom.errors import ModelLoadError
from torchloom_models.encoder_folder import DenseLayer, EncoderFolder, read_encoder_folder


PREFIX = "sentence_transformers.models."


def write(folder: Path, *kinds: str, **files: object) -> Path:
    """Write a folder as sentence-transformers does, and further files by name."""
    modules = []
    for number, kind in enumerate(kinds):
        path = "" if number == 0 else f"{number}_{kind}"
        (folder / path).mkdir(exist_ok=True)
        modules.append({"idx": number, "name": str(number), "path": path, "type": PREFIX + kind})
    (folder / "modules.json").write_text(json.dumps(modules))
    for name, content in files.items():
        (folder / name.replace("__", "/")).with_suffix(".json").write_text(json.dumps(content))
    return folder


def test_takes_a_plain_encoder_with_mean_pooling_and_vectors_of_length_one(tmp_path: Path) -> None:
    """A folder of transformers says nothing of pooling."""
    assert read_encoder_folder(tmp_path) == EncoderFolder(transformer=tmp_path)


def test_reads_every_part(tmp_path: Path) -> None:
    """Pooling, dense layers, normalisation, length, case and prompts are as the files say."""
    dense = {"in_features": 8, "out_features": 4, "activation_function": "torch.nn.ReLU"}
    folder = write(
        tmp_path,
        *("Transformer", "Pooling", "Dense", "Normalize"),
        **{
            "1_Pooling__config": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
        },
        **{"2_Dense__config": dense},
        sentence_bert_config={"max_seq_length": 256, "do_lower_case": True},
        config_sentence_transformers={"prompts": {"query": "q: "}, "default_prompt_name": "query"},
    )

    assert read_encoder_folder(folder) == EncoderFolder(
        transformer=tmp_path,
        poolings=("cls",),
        dense=(
            DenseLayer(
                folder=tmp_path / "2_Dense",
                in_features=8,
                out_features=4,
                bias=True,
                activation="ReLU",
            ),
        ),
        is_normalized=True,
        max_length=256,
        is_lower_case=True,
        prompts={"query": "q: "},
        default_prompt="query",
    )


@pytest.mark.parametrize(
    ("config", "poolings"),
    [
        ({"pooling_mode": "lasttoken"}, ("last",)),
        ({"pooling_mode": ["cls", "mean"]}, ("cls", "mean")),
        ({"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, ("cls", "max")),
        ({"pooling_mode_mean_tokens": False}, ("mean",)),
    ],
)
def test_reads_old_and_new_names_of_poolings(
    tmp_path: Path, config: object, poolings: tuple[str, ...]
) -> None:
    """Flags and names mean the same; nothing means the mean."""
    folder = write(tmp_path, "Transformer", "Pooling", **{"1_Pooling__config": config})

    found = read_encoder_folder(folder)

    assert found.poolings == poolings
    assert not found.is_normalized


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ([], "begins with nothing"),
        (["WordEmbeddings", "Pooling"], "begins with WordEmbeddings"),
        (["Transformer", "LSTM"], "has a LSTM"),
        (["Transformer", "Normalize"], "has a Normalize"),
    ],
)
def test_refuses_parts_that_are_not_served(tmp_path: Path, kinds: list[str], words: str) -> None:
    """A folder of other parts does not load as something that it is not."""
    with pytest.raises(ModelLoadError, match=words):
        read_encoder_folder(write(tmp_path, *kinds))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"pooling_mode": "median"}, "no pooling 'median'"),
        ({"include_prompt": False}, "without the prompt"),
    ],
)
def test_refuses_poolings_that_are_not_served(tmp_path: Path, config: object, words: str) -> None:
    """An unknown pooling is never taken for another."""
    folder = write(tmp_path, "Transformer", "Pooling", **{"1_Pooling__config": config})

    with pytest.raises(ModelLoadError, match=words):
        read_encoder_folder(folder)


def test_refuses_a_folder_that_is_not_there_or_broken(tmp_path: Path) -> None:
    """The message names the folder, or the file."""
    with pytest.raises(ModelLoadError, match="absent' is not a folder"):
        read_encoder_folder(tmp_path / "absent")
    (tmp_path / "modules.json").write_text('[{"type": "a"}]')
    with pytest.raises(ModelLoadError, match="needs a `type` and a `path`"):
        read_encoder_folder(tmp_path)
