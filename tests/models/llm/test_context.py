"""How long a sequence may get."""

from __future__ import annotations

import pytest

from torchloom.errors import ModelLoadError
from torchloom_models.llm.context import choose_max_length


def _choose(
    *, model: int | None = 4096, wished: int | None = None, bytes_per_token: int = 1
) -> int:
    return choose_max_length(
        model_length=model,
        wished=wished,
        bytes_per_token=bytes_per_token,
        num_slots=2,
        device="cpu",
    )


def test_takes_the_length_of_the_model() -> None:
    """Where memory allows it, sequences get as long as the model was made for."""
    assert _choose() == 4096


def test_takes_the_wish() -> None:
    """What the model file says counts."""
    assert _choose(wished=100) == 100


def test_refuses_a_wish_beyond_the_model() -> None:
    """A model cannot be stretched."""
    with pytest.raises(ModelLoadError, match="5000"):
        _choose(wished=5000)


def test_keeps_within_the_memory() -> None:
    """A model of endless context gets what half the free memory holds."""
    length = _choose(model=10**12, bytes_per_token=1000)

    assert 256 <= length < 10**12
    assert length % 64 == 0


def test_says_when_there_is_too_little_memory() -> None:
    """A context that would be uselessly short stops the start."""
    with pytest.raises(ModelLoadError, match="max_sequences"):
        _choose(bytes_per_token=10**12)
