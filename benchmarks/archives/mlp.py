"""A perceptron behind BaseHandler: JSON rows in, JSON rows out, its weights made by a seed."""

from __future__ import annotations

import torch
from torch import nn
from ts.torch_handler.base_handler import BaseHandler


WIDTH = 64


class PerceptronHandler(BaseHandler):
    """64 to 512 to 512 to 10, float32."""

    def initialize(self, context: object) -> None:
        """Make the weights; there is no file to load."""
        torch.manual_seed(0)
        self.context = context
        self.device = torch.device("cpu")
        self.model = nn.Sequential(
            nn.Linear(WIDTH, 512), nn.GELU(), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 10)
        ).eval()
        self.initialized = True

    def preprocess(self, data: list[dict[str, list[float]]]) -> torch.Tensor:
        """Stack the rows' bodies."""
        return torch.tensor([row["body"] for row in data], dtype=torch.float32)
