"""PagedPass: new tokens of any number of rows, one after the other, over a cache in pages.

For code with a kernel for such attention. Every token is a row of its own to the model, which
attends to what the tables say. Knows no compiler, no scheduling and no sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from torchloom_models.llm.attention import MaskFunction, OwnAttention
from torchloom_models.paged_attention import paged_attention


#: How many queries of a mask are looked at, all keys of each.
_MAX_QUERIES = 1024


class PagedPass(nn.Module):
    """The pass itself: tensors in, logits out; the cache is written to by the operation."""

    def __init__(self, model: PreTrainedModel, windows: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.windows = tuple(windows)

    def extra_repr(self) -> str:
        """Tell passes with other windows apart."""
        return f"windows={self.windows}"

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        kept: Tensor,
        past: Tensor,
        begins: Tensor,
        blocks: Tensor,
        block_begins: Tensor,
        longest: Tensor,
        *buffers: Tensor,
    ) -> Tensor:
        """Run tokens [tokens] at positions [tokens]; give logits [kept, vocabulary] after some.

        From `past` to `longest` as `paged_attention` has them; `buffers` are keys and values in
        blocks, layer by layer.
        """
        tables = (past, begins, blocks, block_begins, longest)
        return _run(self.model, tokens, positions, kept, _Kernel(buffers, tables, self.windows))


@torch.inference_mode()
def probe_windows(model: PreTrainedModel, num_layers: int, max_length: int) -> list[int]:
    """Give how many tokens each layer attends to, 0 for all before it, by running one token.

    Raises NotImplementedError where a layer attends to anything else.
    """
    if _head(model) is None:
        raise NotImplementedError("it has no layer of its own for logits")
    probe = _Probe(max_length)
    zero = torch.zeros(1, dtype=torch.long, device=model.device)
    _run(model, zero, zero, zero, probe)
    if sorted(probe.windows) != list(range(num_layers)):
        raise NotImplementedError("it has layers that attend without a mask")
    return [probe.windows[layer] for layer in sorted(probe.windows)]


def window_of(mask_function: MaskFunction, max_length: int) -> int:
    """Give how many of the latest tokens a mask leaves, 0 for all of them.

    Raises NotImplementedError for any other mask.
    """
    zero = torch.zeros((), dtype=torch.long)
    step = -(-max_length // _MAX_QUERIES)
    queries = torch.arange(max_length - 1, -1, -step)[:, None]
    keys = torch.arange(max_length)[None]
    allowed = mask_function(zero, zero, queries, keys).expand(len(queries), max_length)
    window = int(allowed[0].sum())
    if not torch.equal(allowed, (keys <= queries) & (keys > queries - window)):
        raise NotImplementedError("its masks are neither causal nor those of a sliding window")
    return 0 if window == max_length else window


def _run(
    model: PreTrainedModel, tokens: Tensor, positions: Tensor, kept: Tensor, cache: Cache
) -> Tensor:
    """Run tokens as rows of one; only those that are kept get to the layer for logits."""

    def keep(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0][kept],)

    head = _head(model)
    assert head is not None, "probe_windows was not asked"
    hook = head.register_forward_pre_hook(keep)
    try:
        output = model(
            input_ids=tokens[:, None],
            position_ids=positions[:, None],
            past_key_values=cache,
            use_cache=True,
        )
    finally:
        hook.remove()
    logits: Tensor = output.logits[:, 0]
    return logits


def _head(model: PreTrainedModel) -> nn.Module | None:
    """Give the layer that makes logits."""
    return cast("nn.Module | None", model.get_output_embeddings())  # type: ignore[no-untyped-call]


class _PagedCache(Cache, OwnAttention):
    """What both have in common: it is the layer's attention as well."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.layer = 0

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        *_: object,
        **__: object,
    ) -> tuple[Tensor, Tensor]:
        """Note whose keys and values [tokens, kv_heads, 1, dim] go to attention next."""
        self.layer = layer_idx
        return key_states, value_states

    def get_mask_sizes(  # type: ignore[override]  # our mask takes an attention as well
        self, query_length: int, layer_idx: int
    ) -> tuple[int, OwnAttention]:
        """Give itself in place of where keys are."""
        del layer_idx
        return query_length, self

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Give any: no mask is built from it."""
        del layer_idx
        return 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Refuse to guess: rows differ. Positions are always given to the model."""
        del layer_idx
        raise NotImplementedError("rows of a pass have lengths of their own")


class _Kernel(_PagedCache):
    """Attends by the operation."""

    def __init__(
        self, buffers: Sequence[Tensor], tables: Sequence[Tensor], windows: Sequence[int]
    ) -> None:
        super().__init__()
        self._buffers = buffers
        self._tables = tables
        self._windows = windows

    def with_mask(self, mask_function: MaskFunction) -> OwnAttention:
        """Give itself: the windows are known."""
        del mask_function
        return self

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Attend with query [tokens, heads, 1, dim]; give [tokens, 1, heads, dim of values]."""
        keys, values = self._buffers[2 * self.layer : 2 * self.layer + 2]
        output = paged_attention(
            *(states.flatten(1) for states in (query, key, value)),
            keys,
            values,
            *self._tables,
            scale,
            self._windows[self.layer],
        )
        attended: Tensor = output.reshape(query.shape[0], 1, query.shape[1], -1)
        return attended


class _Probe(_PagedCache):
    """Gives masks that note the window of each layer that attends with them."""

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self._max_length = max_length
        self.windows: dict[int, int] = {}

    def with_mask(self, mask_function: MaskFunction) -> OwnAttention:
        """Give what notes this mask's window."""
        return _ProbeMask(self, window_of(mask_function, self._max_length))


class _ProbeMask(OwnAttention):
    """Attends to the one token alone."""

    def __init__(self, probe: _Probe, window: int) -> None:
        self._probe = probe
        self._window = window

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Note the window; give the token's own values to each head [1, 1, heads, dim]."""
        del key, scale
        self._probe.windows[self._probe.layer] = self._window
        num_heads, num_kv_heads = query.shape[1], value.shape[1]
        return value.repeat_interleave(num_heads // num_kv_heads, dim=1).transpose(1, 2)
