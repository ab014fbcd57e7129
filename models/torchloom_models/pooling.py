"""Pooling: from the hidden states of tokens to one vector a text. Knows no file, no tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn


PoolingMode = Literal["mean", "cls", "max", "last", "mean_sqrt_length", "weighted_mean"]


class Pooling(nn.Module):
    """Joins what each mode makes of hidden states [batch, length, dim] and mask [batch, length].

    Texts are padded on the right. A row whose mask is empty gives zeros, or its first token.
    """

    def __init__(self, modes: Sequence[PoolingMode]) -> None:
        super().__init__()
        self.modes = tuple(modes)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Give vectors [batch, dim · modes], in float32."""
        hidden = hidden.float()
        weights = mask.unsqueeze(-1).float()
        return torch.cat([_pool(mode, hidden, weights) for mode in self.modes], dim=-1)

    def extra_repr(self) -> str:
        """Name the modes: compiled code depends on them."""
        return ", ".join(self.modes)


def _pool(mode: PoolingMode, hidden: Tensor, weights: Tensor) -> Tensor:
    match mode:
        case "cls":
            return hidden[:, 0]
        case "last":
            last = (weights.sum(1).long() - 1).clamp(min=0)
            return hidden.gather(1, last.unsqueeze(-1).expand(-1, 1, hidden.shape[-1])).squeeze(1)
        case "max":
            return hidden.masked_fill(weights == 0, -1e9).amax(1)
        case "mean_sqrt_length":
            return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9).sqrt()
        case "weighted_mean":
            position = torch.arange(1, hidden.shape[1] + 1, device=hidden.device).unsqueeze(-1)
            return _mean(hidden, weights * position)
        case "mean":
            return _mean(hidden, weights)


def _mean(hidden: Tensor, weights: Tensor) -> Tensor:
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
