"""Explanations by the real captum."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchloom_models.archive.insight import weigh_tokens


captum = pytest.importorskip("captum.attr")

NUMBERS = torch.tensor([3, 1, 2])


class Words(nn.Module):
    """A classifier that sees each word by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.fc = nn.Linear(4, 3)

    def forward(self, numbers: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Give [1, classes]."""
        assert offsets.tolist() == [0]
        answer: torch.Tensor = self.fc(torch.tanh(self.embedding(numbers)).mean(0, keepdim=True))
        return answer


class Bag(nn.Module):
    """A classifier that sees the words of a text together."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(5, 2, mode=mode)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.tensor([[0.0, 0], [1, 0], [2, 0], [0, 5], [1, 1]]))

    def forward(self, numbers: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Give [1, classes]."""
        answer: torch.Tensor = self.embedding(numbers, offsets)
        return answer


def test_weighs_words_as_captum_does_for_a_layer() -> None:
    """Where a model looks at each word, the layer's own integrated gradients say the same."""
    torch.manual_seed(0)
    model = Words().eval()
    layers = captum.LayerIntegratedGradients(model, model.embedding)
    shares = layers.attribute(
        NUMBERS,
        baselines=torch.zeros_like(NUMBERS),
        additional_forward_args=(torch.zeros(1, dtype=torch.long),),
        target=1,
        n_steps=50,
        internal_batch_size=3,
    )
    sums = shares.sum(dim=-1)
    expected = (sums / sums.norm()).tolist()

    assert weigh_tokens(model, NUMBERS, 1) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_weighs_each_word_of_a_bag(mode: str) -> None:
    """What a word adds to a class, together of length 1; the sign says for or against."""
    one, two = torch.tensor([1.0, 2.0]).div(torch.tensor([1.0, 2.0]).norm()).tolist()

    assert weigh_tokens(Bag(mode), NUMBERS, 0) == pytest.approx([0.0, one, two])
    assert weigh_tokens(Bag(mode), NUMBERS, 1) == pytest.approx([1.0, 0.0, 0.0])


def test_gives_a_text_of_unknown_words_no_weights() -> None:
    """Nothing counts where all is the reference."""
    assert weigh_tokens(Bag("sum"), torch.tensor([0, 0]), 0) == [0.0, 0.0]


def test_leaves_the_model_as_it_was() -> None:
    """Its next answer is to what it is given."""
    model = Bag("sum")
    weigh_tokens(model, NUMBERS, 0)

    assert model(NUMBERS, torch.zeros(1, dtype=torch.long)).tolist() == [[3.0, 5.0]]


def test_says_what_it_needs() -> None:
    """A model without the one layer that makes vectors of words."""
    with pytest.raises(TypeError, match="one Embedding or EmbeddingBag; Linear has 0"):
        weigh_tokens(nn.Linear(1, 1), NUMBERS, 0)
