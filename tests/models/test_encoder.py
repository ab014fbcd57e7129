"""Encoders: transformer, pooling, dense layers and normalisation as one module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from torchloom.errors import ModelLoadError
from torchloom_models.encoder import load_encoder
from torchloom_models.encoder_folder import DenseLayer, EncoderFolder


pytestmark = pytest.mark.slow

IDS, MASK = torch.tensor([[1, 2, 3]]), torch.tensor([[1, 1, 0]])


@pytest.fixture
def folder(tmp_path: Path) -> EncoderFolder:
    """Make a small encoder of random weights."""
    config = BertConfig(
        vocab_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    return EncoderFolder(transformer=tmp_path)


@pytest.fixture
def dense(tmp_path: Path) -> DenseLayer:
    """Make a dense layer that takes the negative of the first four numbers, cut off below 0."""
    (tmp_path / "dense").mkdir()
    weights = {"linear.weight": -torch.eye(4, 16), "linear.bias": torch.zeros(4)}
    save_file(weights, tmp_path / "dense" / "model.safetensors")
    return DenseLayer(
        folder=tmp_path / "dense", in_features=16, out_features=4, bias=True, activation="ReLU"
    )


def test_loads_frozen_and_ready_to_serve(folder: EncoderFolder) -> None:
    """No dropout, no gradients; a pooler without weights is no fault."""
    encoder = load_encoder(folder, dtype="auto", place="cpu")

    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert (encoder.dtype, encoder.max_positions) == (torch.float32, 12)
    torch.testing.assert_close(encoder(IDS, MASK), encoder(IDS, MASK), rtol=0, atol=0)


def test_puts_dense_layers_between_pooling_and_length(
    folder: EncoderFolder, dense: DenseLayer
) -> None:
    """The parts follow each other as the folder lists them."""
    bare = load_encoder(replace(folder, is_normalized=False), dtype="auto", place="cpu")
    whole = load_encoder(replace(folder, dense=(dense,)), dtype="auto", place="cpu")

    expected = torch.nn.functional.normalize((-bare(IDS, MASK)[:, :4]).relu(), dim=-1)

    torch.testing.assert_close(whole(IDS, MASK), expected)


@pytest.mark.parametrize(
    ("activation", "out_features", "words"),
    [
        ("NoSuch", 4, "no activation 'NoSuch'"),
        ("functional", 4, "no activation"),
        ("Tanh", 5, "load"),
    ],
)
def test_refuses_dense_layers_that_do_not_fit(
    folder: EncoderFolder, dense: DenseLayer, activation: str, out_features: int, words: str
) -> None:
    """Unknown activations and wrong sizes stop the model from loading."""
    bad = replace(dense, activation=activation, out_features=out_features)

    with pytest.raises(ModelLoadError, match=words):
        load_encoder(replace(folder, dense=(bad,)), dtype="auto", place="cpu")
