"""Guidance as networks take it: two predictions made one, or a number made a vector."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def guide(without: Tensor, with_prompt: Tensor, guidance: float) -> Tensor:
    """Go from the prediction without the prompt towards and past the one with it.

    Classifier-free guidance, as in https://arxiv.org/abs/2207.12598.
    """
    return without + guidance * (with_prompt - without)


def embed_guidance(guidance: float, size: int) -> Tensor:
    """Give sines and cosines [size] of a guidance, as distilled networks were trained with.

    As in https://arxiv.org/abs/2303.00848's code: like timesteps, a thousand to the unit.
    """
    half = size // 2
    rates = torch.exp(torch.arange(half) * (-math.log(10_000.0) / (half - 1)))
    angles = torch.tensor(guidance) * 1000.0 * rates
    embedding = torch.cat([torch.sin(angles), torch.cos(angles)])
    return torch.nn.functional.pad(embedding, (0, size % 2))
