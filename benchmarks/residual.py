"""A small residual network for the benchmarks of kind `module`."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn


class Residual(nn.Module):
    """Convolutions with shortcuts: [batch, WIDTH] becomes pictures of 32 by 32, and [batch, WIDTH].

    Its input is a vector, so that handing it over costs little beside the network.
    """

    WIDTH: ClassVar[int] = 64
    SIDE: ClassVar[int] = 32

    def __init__(self, channels: int = 128, blocks: int = 12) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.channels = channels
        self.rise = nn.Linear(self.WIDTH, channels * (self.SIDE // 8) ** 2)
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(blocks))
        self.fall = nn.Linear(channels, self.WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Work out all blocks and take the mean over the picture."""
        side = self.SIDE // 8
        picture = self.rise(x).view(-1, self.channels, side, side)
        picture = nn.functional.interpolate(picture, scale_factor=8.0)
        for block in self.blocks:
            picture = block(picture)
        return self.fall(picture.mean((2, 3)))


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(2))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        inner = self.first(nn.functional.silu(self.norms[0](picture)))
        inner = self.second(nn.functional.silu(self.norms[1](inner)))
        return picture + inner
