"""Digests of what compiled code depends on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchloom_models.fingerprint import MAX_FOLDED, fingerprint_of, named_tensors, values_digest


pytestmark = pytest.mark.slow


class Layer(nn.Module):
    """A large weight and a small buffer."""

    weight: torch.Tensor

    def __init__(self, *, value: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((MAX_FOLDED + 1,), value))
        self.register_buffer("scale", torch.tensor(scale))


class Other(Layer):
    """The same tensors in another class."""


def test_is_the_same_for_other_values_of_large_weights() -> None:
    """Weights are bound when code is loaded."""
    assert fingerprint_of(Layer()) == fingerprint_of(Layer(value=1.0))


@pytest.mark.parametrize(
    "module", [Layer(scale=2.0), Layer().double(), Other(), nn.Sequential(Layer())]
)
def test_differs_where_code_may_differ(module: nn.Module) -> None:
    """Small values, dtypes, classes and structure all count."""
    assert fingerprint_of(module) != fingerprint_of(Layer())


def test_counts_the_code_of_a_traced_module() -> None:
    """Exported programs are of one class: their code tells them apart."""

    def trace(factor: float) -> nn.Module:
        class Times(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x * factor

        return torch.export.export(Times(), (torch.ones(2),)).module()

    assert fingerprint_of(trace(2.0)) != fingerprint_of(trace(3.0))


def test_names_a_shared_tensor_by_each_of_its_names() -> None:
    """Tied weights are found under either name."""
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight  # type: ignore[union-attr,assignment]  # a Linear has one

    assert {"0.weight", "1.weight"} <= set(named_tensors(tied))


def test_digests_every_value_for_code_that_holds_them() -> None:
    """There, a weight more or less is another model."""
    assert values_digest(Layer()) == values_digest(Layer())
    assert values_digest(Layer()) != values_digest(Layer(value=1.0))
