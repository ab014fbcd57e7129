"""TextEncoder: new texts together, known ones not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
import torch
from tiny_pipeline import LENGTH, make_tokenizer
from torch import Tensor, nn

from torchloom_models.diffusion.network import Network
from torchloom_models.diffusion.text import _MAX_KEPT, TextEncoder, TextTower


class Recorder:
    """Stands for a network: gives the ids back as floats, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Tensor] = []

    def tensors(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Encode."""
        self.calls.append(ids)
        return (ids.float(), ids.float().sum(dim=1))


def only(outputs: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Join one tower's outputs."""
    return outputs[0]


@pytest.fixture
def network() -> Recorder:
    """Give a network that remembers."""
    return Recorder()


@pytest.fixture
def encoder(network: Recorder) -> TextEncoder:
    """Give an encoder with one tower."""
    tower = TextTower(make_tokenizer(), nn.Identity(), LENGTH)
    return TextEncoder([tower], [cast("Network", network)], only, device="cpu")


def test_encodes_new_texts_together_and_equal_ones_once(
    encoder: TextEncoder, network: Recorder
) -> None:
    """One call holds each text that is new, whoever asks for it and however often."""
    first = encoder.encode(["red", "blue", "red"])
    second = encoder.encode(["blue", "green"])

    assert [len(call) for call in network.calls] == [2, 1]
    assert set(first) == {"red", "blue"}
    assert torch.equal(first["blue"][0], second["blue"][0])
    assert first["red"][0].shape == (LENGTH,)
    assert first["red"][1].shape == ()


def test_forgets_what_was_not_asked_for_longest(encoder: TextEncoder, network: Recorder) -> None:
    """The cache is bounded; a text that is asked for again stays."""
    encoder.encode(["red", "blue"])
    for number in range(_MAX_KEPT - 1):
        encoder.encode([f"text {number}", "red"])
    encoder.encode(["red"])
    calls = len(network.calls)
    encoder.encode(["blue"])

    assert len(network.calls) == calls + 1
    assert len(encoder._kept) == _MAX_KEPT


def test_answers_for_more_texts_than_it_keeps(encoder: TextEncoder) -> None:
    """A burst larger than the cache is answered whole."""
    texts = [f"text {number}" for number in range(_MAX_KEPT + 10)]

    assert list(encoder.encode(texts)) == texts


def test_cuts_and_pads_to_one_length() -> None:
    """Long texts are cut with their end token kept, short ones padded, as CLIP expects."""
    tower = TextTower(make_tokenizer(), nn.Identity(), 5)

    tokens = tower.tokens(["red", "red " * 50], "cpu")

    assert tokens.tolist() == [[1, 4, 2, 2, 2], [1, 4, 4, 4, 2]]
