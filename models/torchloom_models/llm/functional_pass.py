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


#: The position of what no query attends to: later than any.
_NOWHERE = 2**30


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

        `buffers` are keys and values [rows, heads, length, dim], layer by layer: what is before
        `starts`, and whatever else, which nothing attends to. Gives logits [rows, kept, vocabulary]
        after the tokens at kept [kept], and the new keys and values [rows, heads, new, dim] in the
        order of `buffers`.
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
    """Gives each layer what a row holds, then the new tokens, and keeps those apart.

    The new ones lie behind all of the buffer and not at their place in it, which would be a
    scatter; masks are told where each key is. Heads that queries share are given once for each:
    OpenVINO's conversion takes no others.
    """

    def __init__(
        self, buffers: Sequence[Tensor], starts: Tensor, positions: Tensor, *, num_heads: int
    ) -> None:
        super().__init__(layers=[])
        self._num_heads = num_heads
        self._buffers = buffers
        self._starts = starts
        held = torch.arange(buffers[0].shape[2], device=starts.device).expand(starts.shape[0], -1)
        self._places = torch.cat(
            [held.masked_fill(held >= starts[:, None], _NOWHERE), positions], 1
        )
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
        """Take keys and values [rows, kv_heads, new, dim]; give all of them [rows, heads, …]."""
        return self._put(2 * layer_idx, key_states), self._put(2 * layer_idx + 1, value_states)

    def _put(self, number: int, states: Tensor) -> Tensor:
        self._written[number] = states
        whole = torch.cat([self._buffers[number], states], dim=2)
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

    def get_mask_sizes(  # type: ignore[override]  # our mask takes a tensor as well
        self, query_length: int, layer_idx: int
    ) -> tuple[int, Tensor]:
        """Give the number of keys, and where each of them is [rows, keys]."""
        del query_length, layer_idx
        return self._places.shape[1], self._places

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Refuse to guess: rows differ. Positions are always given to the model."""
        del layer_idx
        message = "rows of a pass have lengths of their own"
        raise NotImplementedError(message)
