"""T5's encoder as a module of tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchloom_models.diffusion.folder import PipelineFolder
from torchloom_models.diffusion.text import TextTower


class T5Hidden(nn.Module):
    """Gives the last hidden states [texts, length, width]. Padding counts, as in training."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Encode."""
        return (self.encoder(ids)[0],)


def load_t5(
    folder: PipelineFolder, suffix: str, length: int, *, dtype: torch.dtype, place: str
) -> TextTower:
    """Load `tokenizer{suffix}` and `text_encoder{suffix}`, for texts of `length` tokens at most."""
    name = f"text_encoder{suffix}"
    encoder = folder.load_network(name, ("T5EncoderModel",), dtype=dtype, place=place)
    tokenizer = folder.load_tokenizer(f"tokenizer{suffix}")
    return TextTower(tokenizer, T5Hidden(encoder), min(length, int(tokenizer.model_max_length)))
