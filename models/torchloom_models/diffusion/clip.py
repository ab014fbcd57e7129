"""CLIP's text encoders as modules of tensors, each giving what some families read of them."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from torchloom_models.diffusion.folder import PipelineFolder
from torchloom_models.diffusion.text import TextTower


_CLASSES = ("CLIPTextModel", "CLIPTextModelWithProjection")

#: What a tokenizer says that says nothing is astronomically more.
_MAX_LENGTH = 4096


class ClipLast(nn.Module):
    """Gives the last hidden states [texts, length, width]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Encode."""
        return (self.encoder(ids)[0],)


class ClipPenultimate(nn.Module):
    """Gives the hidden states before the last layer, and the pooled text where it is projected."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.is_projected = type(encoder).__name__ == "CLIPTextModelWithProjection"

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Encode."""
        output = self.encoder(ids, output_hidden_states=True)
        hidden = output.hidden_states[-2]
        return (hidden, output.text_embeds) if self.is_projected else (hidden,)


class ClipPooled(nn.Module):
    """Gives the pooled text [texts, width]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Encode."""
        return (self.encoder(ids).pooler_output,)


def load_clip(
    folder: PipelineFolder,
    suffix: str,
    view: type[nn.Module],
    *,
    dtype: torch.dtype,
    place: str,
) -> TextTower:
    """Load `tokenizer{suffix}` and `text_encoder{suffix}`, seen through `view`."""
    encoder = folder.load_network(f"text_encoder{suffix}", _CLASSES, dtype=dtype, place=place)
    tokenizer = folder.load_tokenizer(f"tokenizer{suffix}")
    positions = int(cast("Any", encoder).config.max_position_embeddings)
    length = min(int(tokenizer.model_max_length), positions, _MAX_LENGTH)
    return TextTower(tokenizer, view(encoder), length)
