"""Modules that other processes can import too."""

from __future__ import annotations

import torch
from torch import nn


class Scale(nn.Module):
    """[batch, n] times a learned number, and the sum of each row."""

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(start))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give both."""
        return x * self.factor, x.sum(-1)


class Running(nn.Module):
    """Remembers what it was given."""

    total: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add to what came before."""
        self.total.add_(x.sum(0))
        return x + self.total


class Total(nn.Module):
    """Forgets the batch dimension."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Sum everything."""
        return x.sum()


class Layers(nn.Module):
    """Two layers that are worth compressing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(128, 512), nn.Linear(512, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give what the layers make of x."""
        output: torch.Tensor = self.second(self.first(x).relu())
        return output
