"""Insight: how much each part of an input counts for an answer, by captum's integrated gradients.

Knows no handler. captum is imported when it is first asked: few models are explained.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch


#: How finely gradients are integrated.
PICTURE_STEPS: Final = 15
TEXT_STEPS: Final = 50

#: What stands in a text in place of each word where there is none: the first of the vocabulary.
_REFERENCE: Final = 0


def open_gradients(model: Any) -> Any:
    """Give captum's IntegratedGradients of a model. Raises ImportError, saying what to install."""
    try:
        captum = importlib.import_module("captum.attr")
    except ImportError as error:
        message = "Explanations need captum, which is not installed here: pip install captum."
        raise ImportError(message) from error
    return captum.IntegratedGradients(model)


def weigh_tokens(model: Any, numbers: torch.Tensor, target: int) -> list[float]:
    """Say how much each token of a text counts for a class, together of length 1.

    `numbers`: [tokens], those of the vocabulary. The model is called with them and the offset 0;
    its one Embedding or EmbeddingBag is where words become vectors. Raises TypeError where it has
    none.
    """
    layer = _find_embedding(model)
    offsets = torch.zeros(1, dtype=torch.long, device=numbers.device)
    vectors = _vectors(layer, numbers)
    references = _vectors(layer, torch.full_like(numbers, _REFERENCE))

    def answer(given: torch.Tensor) -> Any:
        with _embedded(layer, given[0]):
            return model(numbers, offsets)

    shares = open_gradients(answer).attribute(
        vectors[None],
        baselines=references[None],
        target=target,
        n_steps=TEXT_STEPS,
        internal_batch_size=1,
    )
    sums = shares[0].sum(dim=-1)
    length = torch.linalg.vector_norm(sums)
    weights: list[float] = (sums / length if length else sums).tolist()
    return weights


def _find_embedding(model: Any) -> torch.nn.Module:
    kinds = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    found = [each for each in modules if isinstance(each, kinds)]
    if len(found) != 1:
        message = (
            "Explanations of texts need an eager model with one Embedding or EmbeddingBag; "
            f"{type(model).__name__} has {len(found)}."
        )
        raise TypeError(message)
    return found[0]


def _vectors(layer: Any, numbers: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.embedding(numbers, layer.weight).detach()


@contextmanager
def _embedded(layer: torch.nn.Module, vectors: torch.Tensor) -> Iterator[None]:
    """Have the layer answer as if it held these vectors, [tokens, size]; a bag joins them."""

    def replace(*_: object) -> torch.Tensor:
        if not isinstance(layer, torch.nn.EmbeddingBag):
            return vectors
        if layer.mode == "max":
            return vectors.amax(dim=0, keepdim=True)
        joined: torch.Tensor = getattr(vectors, layer.mode)(dim=0, keepdim=True)
        return joined

    hook = layer.register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()
