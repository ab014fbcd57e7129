"""How a transformers model reads and writes the KvCache: attention, masks and caches of our own.

Models call what is registered here under one name, whatever their architecture: masks are built
from the model's own index functions (full, sliding, chunked), per row. Knows no scheduling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.cache_utils import Cache
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from torchloom_models.llm.cache.kv_cache import LayerShape


#: The name under which transformers finds what is below.
IMPLEMENTATION = "torchloom"

#: Says of the indexes of row, head, query and key whether that query attends to that key.
MaskFunction = Callable[..., torch.Tensor]

#: Extras of attention that some models ask for and `attend` does not do.
_UNSUPPORTED = ("softcap", "s_aux", "position_bias")


class OwnAttention:
    """Takes the place of masks and of attention, for a cache that does without either.

    Such a cache gives it from `get_mask_sizes`, in place of where keys are.
    """

    def with_mask(self, mask_function: MaskFunction) -> OwnAttention:
        """Give what attends to these keys. Raises NotImplementedError where none does."""
        raise NotImplementedError

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attend in the layer that was updated last; shapes as of the function `attend`."""
        raise NotImplementedError


def register() -> None:
    """Make the attention known to transformers. May be called again."""
    AttentionInterface.register(IMPLEMENTATION, attend)
    AttentionMaskInterface.register(IMPLEMENTATION, make_mask)


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | OwnAttention | None,
    *,
    scaling: float | None = None,
    **extras: object,
) -> tuple[torch.Tensor, None]:
    """Attend with query [batch, heads, length, dim] to key and value [batch, kv_heads, keys, dim].

    Gives [batch, length, heads, dim]. `attention_mask` is None for plain causal attention.
    Raises NotImplementedError for soft caps, sinks and position biases.
    """
    for name in _UNSUPPORTED:
        if extras.get(name) is not None:
            message = f"{type(module).__name__} wants attention with {name!r}, which is not served"
            raise NotImplementedError(message)
    batch, num_heads, length, dim = query.shape
    if isinstance(attention_mask, OwnAttention):
        scale = dim**-0.5 if scaling is None else scaling
        return attention_mask.attend(query, key, value, scale), None
    num_kv_heads = key.shape[1]
    if length == 1:
        # The heads that share keys become queries of one head: no copy of the keys for each head.
        query = query.reshape(batch, num_kv_heads, num_heads // num_kv_heads, dim)
    output = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        is_causal=attention_mask is None and length > 1,
        scale=scaling,
        enable_gqa=length > 1 and num_kv_heads != num_heads,
    )
    return output.reshape(batch, num_heads, length, value.shape[-1]).transpose(1, 2), None


def make_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | torch.Tensor = 0,
    kv_offset: int | torch.Tensor | OwnAttention = 0,
    *,
    mask_function: MaskFunction,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    **options: Any,  # what else transformers knows of the mask
) -> torch.Tensor | OwnAttention | None:
    """Build a mask from a model's index function, for a query that starts at `q_offset`.

    A tensor [batch] of offsets gives each row its own, and an additive mask
    [batch, 1, q_length, kv_length] of 0 and -inf; a number gives what transformers makes of it.
    Keys lie at positions 0 and on, or where `kv_offset` [batch, kv_length] says.
    """
    if isinstance(kv_offset, OwnAttention):
        return kv_offset.with_mask(mask_function)
    if not isinstance(q_offset, torch.Tensor):
        assert not isinstance(kv_offset, torch.Tensor), "keys by place need queries by place"
        mask: torch.Tensor | None = sdpa_mask(
            batch_size,
            q_length,
            kv_length,
            q_offset,
            kv_offset,
            mask_function=mask_function,
            device=device,
            **options,
        )
        return mask
    queries = q_offset[:, None] + torch.arange(q_length, device=device)
    keys = kv_offset
    if not isinstance(keys, torch.Tensor):
        keys = torch.arange(kv_length, device=device)[None] + keys
    allowed = mask_function(
        torch.arange(batch_size, device=device)[:, None, None, None],
        torch.zeros((1, 1, 1, 1), dtype=torch.long, device=device),
        queries[:, None, :, None],
        keys[:, None, None, :],
    )
    additive = torch.zeros((), dtype=dtype, device=device).masked_fill(~allowed, float("-inf"))
    return additive.expand(batch_size, 1, q_length, kv_length)


class DecodeCache(Cache):
    """One more token a row: writes it at the row's position, and gives all that the row holds.

    `buffers` is a KvCache view (keys, values, keys, …); `positions` [rows] is where the new token
    goes, which is the number of tokens before it.
    """

    def __init__(self, buffers: Sequence[torch.Tensor], positions: torch.Tensor) -> None:
        super().__init__(layers=[])
        self._buffers = buffers
        self._positions = positions
        self._rows = torch.arange(positions.shape[0], device=positions.device)

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: object,
        **__: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write keys and values [rows, heads, 1, dim]; give those of the whole view."""
        keys, values = self._buffers[2 * layer_idx], self._buffers[2 * layer_idx + 1]
        keys[self._rows, :, self._positions] = key_states[:, :, 0]
        values[self._rows, :, self._positions] = value_states[:, :, 0]
        return keys, values

    def get_query_offset(  # type: ignore[override]  # transformers takes a tensor as well
        self, layer_idx: int = 0
    ) -> torch.Tensor:
        """Give each row's own offset: masks are built from it."""
        del layer_idx
        return self._positions

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Give the length of the view, which starts at position 0."""
        del query_length, layer_idx
        return self._buffers[0].shape[2], 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Refuse to guess: rows differ. Positions are always given to the model."""
        del layer_idx
        message = "rows of a decode step have lengths of their own"
        raise NotImplementedError(message)


class PrefillCache(Cache):
    """Beginnings of prompts, right-padded: they attend to themselves alone.

    `buffers` is a KvCache view over all slots; `slots` [prompts] says which slot each prompt fills,
    from position 0 on. Padding is written too: nothing attends to it before a later token has taken
    its place.
    """

    def __init__(self, buffers: Sequence[torch.Tensor], slots: torch.Tensor) -> None:
        super().__init__(layers=[])
        self._buffers = buffers
        self._slots = slots

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: object,
        **__: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write keys and values [prompts, heads, length, dim], and give them back as they are."""
        length = key_states.shape[2]
        self._buffers[2 * layer_idx][self._slots, :, :length] = key_states
        self._buffers[2 * layer_idx + 1][self._slots, :, :length] = value_states
        return key_states, value_states

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Give the length of the prompts: nothing goes before them."""
        del layer_idx
        return query_length, 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Nothing goes before the prompts."""
        del layer_idx
        return 0


class PieceCache(PrefillCache):
    """Later pieces of prompts: they attend to what their slots hold as well, up to `end`.

    `positions` [prompts, length] is where each token stands. The buffers have one behind the last,
    where padding may go.
    """

    def __init__(
        self,
        buffers: Sequence[torch.Tensor],
        slots: torch.Tensor,
        positions: torch.Tensor,
        end: int,
    ) -> None:
        super().__init__(buffers, slots)
        self._starts = positions[:, 0]
        self._end = end
        self._places = positions.clamp(max=buffers[0].shape[2] - 1)

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: object,
        **__: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write keys and values [prompts, heads, length, dim]; give all that the slots hold."""
        keys, values = self._buffers[2 * layer_idx : 2 * layer_idx + 2]
        slots = self._slots[:, None]
        keys[slots, :, self._places] = key_states.transpose(1, 2)
        values[slots, :, self._places] = value_states.transpose(1, 2)
        return keys[self._slots, :, : self._end], values[self._slots, :, : self._end]

    def get_query_offset(  # type: ignore[override]  # transformers takes a tensor as well
        self, layer_idx: int = 0
    ) -> torch.Tensor:
        """Give each row's own offset: masks are built from it."""
        del layer_idx
        return self._starts

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Give how many tokens the longest slot holds, from position 0 on."""
        del query_length, layer_idx
        return self._end, 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Refuse to guess: rows differ. Positions are always given to the model."""
        del layer_idx
        message = "pieces of prompts have beginnings of their own"
        raise NotImplementedError(message)


class ProbeCache(Cache):
    """Keeps nothing; notes what each layer would keep."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self._shapes: dict[int, LayerShape] = {}

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: object,
        **__: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Note the shape of a layer."""
        self._shapes[layer_idx] = LayerShape(
            num_heads=key_states.shape[1],
            key_dim=key_states.shape[3],
            value_dim=value_states.shape[3],
        )
        return key_states, value_states

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Give the length of the probe."""
        del layer_idx
        return query_length, 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Nothing goes before the probe."""
        del layer_idx
        return 0

    @property
    def shapes(self) -> list[LayerShape]:
        """The layers that keep something, by their number in the model, from 0 on."""
        return [self._shapes[number] for number in range(len(self._shapes))]
