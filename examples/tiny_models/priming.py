"""Prime a new Llama to copy: weights that repeat what followed a token the last time.

Left to itself a tiny Llama needs millions of tokens to find out how to copy. So one head of the
first layer starts out looking at the token before, and heads of the next two layers start out
looking for the token after an earlier copy of the current one ("induction heads", Olsson et al.
2022, arXiv:2209.11895). Training then changes these weights like all others. Knows nothing of the
lessons.
"""

from __future__ import annotations

import math

import torch
from transformers import LlamaForCausalLM


#: Parts of the residual stream: which token, the token before, the next token, and a constant.
TOKEN = slice(0, 96)
BEFORE = slice(96, 160)
NEXT = slice(160, 224)
CONSTANT = 255
#: Value of the constant part; the token part has unit variance.
LEVEL = 6.0
#: Rotary pairs fast enough to tell neighbours apart, and slow enough to match over a prompt.
FAST_PAIRS = 16
SLOW_PAIR = 20


@torch.no_grad()
def prime(model: LlamaForCausalLM, seed: int) -> None:
    """Set embeddings and the first heads of the first three layers, in place."""
    generator = torch.Generator().manual_seed(seed)
    width = TOKEN.stop - TOKEN.start
    to_before = _orthonormal(BEFORE.stop - BEFORE.start, width, generator)
    to_next = _orthonormal(NEXT.stop - NEXT.start, width, generator)
    embeddings = model.model.embed_tokens.weight
    tokens = torch.randn(embeddings.shape[0], width, generator=generator)
    embeddings[:, TOKEN] = tokens
    embeddings[:, NEXT] = 0.2 * tokens @ to_next.T
    embeddings[:, CONSTANT] = LEVEL
    model.model.norm.weight[: NEXT.start] = 0.0
    model.model.norm.weight[CONSTANT] = 0.0
    _look_back(model, to_before)
    for layer in (1, 2):
        _match(model, layer, to_before, to_next, generator)


def _orthonormal(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    matrix = torch.randn(columns, rows, generator=generator)
    return torch.linalg.qr(matrix).Q.T.contiguous()


def _frequencies(model: LlamaForCausalLM) -> torch.Tensor:
    return model.model.rotary_emb.inv_freq.float()


def _look_back(model: LlamaForCausalLM, to_before: torch.Tensor) -> None:
    """Let the first head of the first layer read the token before into BEFORE."""
    attention = model.model.layers[0].self_attn
    size = attention.head_dim
    half = size // 2
    angles = _frequencies(model)[:FAST_PAIRS]
    strength = 0.67
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[:size] = 0.0
    attention.q_proj.weight[:FAST_PAIRS, CONSTANT] = strength * angles.cos()
    attention.q_proj.weight[half : half + FAST_PAIRS, CONSTANT] = -strength * angles.sin()
    attention.k_proj.weight[:FAST_PAIRS, CONSTANT] = strength
    attention.v_proj.weight[:size, TOKEN] = to_before
    attention.o_proj.weight[:, :size] = 0.0
    attention.o_proj.weight[BEFORE, :size] = torch.eye(size)


def _match(
    model: LlamaForCausalLM,
    layer: int,
    to_before: torch.Tensor,
    to_next: torch.Tensor,
    generator: torch.Generator,
) -> None:
    """Let the first head look where BEFORE is the current token, and write the token to NEXT."""
    attention = model.model.layers[layer].self_attn
    size = attention.head_dim
    half = size // 2
    rows = [*range(SLOW_PAIR, half), *range(half + SLOW_PAIR, size)]
    match = math.sqrt(3.0) * _orthonormal(len(rows), to_before.shape[0], generator)
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[:size] = 0.0
    queries = torch.zeros(size, to_before.shape[1])
    queries[rows] = match @ to_before
    keys = torch.zeros(size, to_before.shape[0])
    keys[rows] = match
    attention.q_proj.weight[:size, TOKEN] = queries
    attention.k_proj.weight[:size, BEFORE] = keys
    attention.v_proj.weight[:size, TOKEN] = to_next
    attention.o_proj.weight[:, :size] = 0.0
    attention.o_proj.weight[NEXT, :size] = torch.eye(size)
