"""A small module for the benchmarks of kind `module`."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn


class Perceptron(nn.Module):
    """Two layers with a GELU between them: [batch, WIDTH] to [batch, WIDTH]."""

    WIDTH: ClassVar[int] = 1024

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rise = nn.Linear(self.WIDTH, 4 * self.WIDTH)
        self.fall = nn.Linear(4 * self.WIDTH, self.WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Work out both layers."""
        return self.fall(nn.functional.gelu(self.rise(x)))
