"""An encoder of MiniLM's size (six layers of 384, twelve heads), its weights made by a seed.

Token numbers in, the mean of the last layer out. PyTorch's own layers: nothing but torch is needed,
and there is one class only, as TorchServe's loader wants it.
"""

from __future__ import annotations

import torch
from torch import nn
from ts.torch_handler.base_handler import BaseHandler


WORDS, PLACES, WIDTH = 30522, 512, 384


class EncoderHandler(BaseHandler):
    """Rows of as many token numbers each, so that a batch is one tensor."""

    def initialize(self, context: object) -> None:
        """Make the weights; there is no file to load."""
        torch.manual_seed(0)
        self.context = context
        self.device = torch.device("cpu")
        layer = nn.TransformerEncoderLayer(
            WIDTH, 12, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True
        )
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(PLACES, WIDTH)
        self.model = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False).eval()
        self.initialized = True

    def preprocess(self, data: list[dict[str, list[int]]]) -> torch.Tensor:
        """Stack the rows' bodies."""
        return torch.tensor([row["body"] for row in data])

    @torch.inference_mode()
    def inference(self, numbers: torch.Tensor) -> torch.Tensor:
        """Encode, and give each row's mean."""
        places = torch.arange(numbers.shape[1])
        return self.model(self.words(numbers) + self.places(places)).mean(dim=1)
