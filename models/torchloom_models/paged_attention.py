"""Attention over a cache in pages: an operation of torch, for code that has a kernel for it.

Rows of any length, each with a table of the blocks that its keys and values lie in, go through one
call: whole prompts beside single tokens. Here it is written out, for what is traced and compared;
compiled code brings its own. Knows no model and no scheduling.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


#: The name of the operation in a traced graph.
OPERATION = "torchloom.paged_attention.default"

#: How many positions a block holds: OpenVINO's kernel for the CPU takes no other number.
BLOCK_SIZE = 32


# Said to change nothing: a trace would otherwise copy all of the cache in and out of it.
@torch.library.custom_op("torchloom::paged_attention", mutates_args=())
def paged_attention(  # noqa: PLR0913, PLR0917 - an operation has no other way to take them
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    past: Tensor,
    begins: Tensor,
    blocks: Tensor,
    block_begins: Tensor,
    longest: Tensor,
    scale: float,
    window: int,
) -> Tensor:
    """Write new keys and values [tokens, kv_heads · dim] to the cache, and attend to each row's.

    The tokens of row r are those from begins[r] to begins[r + 1], after past[r] others, in the
    blocks from block_begins[r] to block_begins[r + 1] of `blocks`. The caches are
    [number of blocks, kv_heads, BLOCK_SIZE, dim]. Each token attends to itself and to what goes
    before it; with a `window` other than 0 to the last so many. `longest` is the length of the
    longest row. Gives [tokens, heads · dim of values].
    """
    del longest  # kernels size their memory by it
    num_kv_heads, dim = key_cache.shape[1], key_cache.shape[3]
    heads = query.reshape(len(query), -1, dim)
    outputs = []
    for row, start in enumerate(past.tolist()):
        table = blocks[block_begins[row] : block_begins[row + 1]].long()
        own = slice(int(begins[row]), int(begins[row + 1]))
        places = start + torch.arange(own.stop - own.start)
        held = torch.arange(start + len(places))
        at = (table[places // BLOCK_SIZE], slice(None), places % BLOCK_SIZE)
        key_cache[at] = key[own].reshape(len(places), num_kv_heads, -1)
        value_cache[at] = value[own].reshape(len(places), num_kv_heads, -1)
        allowed = held[None] <= places[:, None]
        if window:
            allowed &= held[None] > places[:, None] - window
        keys, values = (
            cache[table].transpose(0, 1).flatten(1, 2)[None, :, : len(held)]
            for cache in (key_cache, value_cache)
        )
        attended = scaled_dot_product_attention(
            heads[own].transpose(0, 1)[None],
            keys,
            values,
            attn_mask=allowed,
            scale=scale,
            enable_gqa=True,
        )
        outputs.append(attended[0].transpose(0, 1).flatten(1))
    return torch.cat(outputs)


@paged_attention.register_fake
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    *_: object,
) -> Tensor:
    del key, value
    num_heads = query.shape[1] // key_cache.shape[3]
    return query.new_empty((query.shape[0], num_heads * value_cache.shape[3]))
