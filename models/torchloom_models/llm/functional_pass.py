"""FunctionalPass: new tokens over a cache that is only read, with what is to be written as output.

For code that cannot write in place. One module serves whole prompts and single tokens. Knows no
compiler, no scheduling and no sequences.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache


class FunctionalPass(nn.Module):
    """The pass itself: tensors in, tensors out, nothing written."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.num_heads: int = model.config.get_text_config().num_attention_heads

    def forward(
        self, tokens: Tensor, starts: Tensor, kept: Tensor, *buffers: Tensor
    ) -> tuple[Tensor, ...]:
        """Run tokens [rows, new] at positions from starts [rows] on.

        `buffers` are keys and values [rows, heads, length, dim], layer by layer, as they are before
        the pass. Gives logits [rows, kept, vocabulary] after the tokens at kept [kept], and the
        new keys and values [rows, heads, new, dim] in the order of `buffers`.
        """
        positions = starts[:, None] + torch.arange(tokens.shape[1], device=tokens.device)
        cache = ReadCache(buffers, starts, positions, num_heads=self.num_heads)
        output = self.model(
            input_ids=tokens,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=kept,
        )
        return (output.logits, *cache.written)


class ReadCache(Cache):
    """Gives each layer all that a row holds, the new tokens included, and keeps those apart.

    Heads that queries share are given once for each: OpenVINO's conversion takes no others.
    """

    def __init__(
        self, buffers: Sequence[Tensor], starts: Tensor, positions: Tensor, *, num_heads: int
    ) -> None:
        super().__init__(layers=[])
        self._num_heads = num_heads
        self._buffers = buffers
        self._starts = starts
        self._places = (torch.arange(positions.shape[0])[:, None], positions)
        self._written: dict[int, Tensor] = {}

    @property
    def written(self) -> list[Tensor]:
        """The new keys and values, in the order of the buffers."""
        return [self._written[number] for number in range(len(self._buffers))]

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        *_: object,
        **__: object,
    ) -> tuple[Tensor, Tensor]:
        """Take keys and values [rows, kv_heads, new, dim]; give the row's [rows, heads, …]."""
        return self._put(2 * layer_idx, key_states), self._put(2 * layer_idx + 1, value_states)

    def _put(self, number: int, states: Tensor) -> Tensor:
        self._written[number] = states
        by_place = self._buffers[number].transpose(1, 2)
        whole = by_place.index_put(self._places, states.transpose(1, 2)).transpose(1, 2)
        num_shared = self._num_heads // whole.shape[1]
        if num_shared == 1:
            return whole
        return whole[:, :, None].expand(-1, -1, num_shared, -1, -1).flatten(1, 2)

    def get_query_offset(  # type: ignore[override]  # transformers takes a tensor as well
        self, layer_idx: int = 0
    ) -> Tensor:
        """Give each row's own offset: masks are built from it."""
        del layer_idx
        return self._starts

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Give the length of the buffers, which start at position 0."""
        del query_length, layer_idx
        return self._buffers[0].shape[2], 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Refuse to guess: rows differ. Positions are always given to the model."""
        del layer_idx
        message = "rows of a pass have lengths of their own"
        raise NotImplementedError(message)
