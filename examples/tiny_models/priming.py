"""Prime a new Llama to copy, and to tell which passage a name stands in.

Left to itself a tiny Llama needs millions of tokens to find out either. So one head of the first
layer starts out looking at the token before, and heads of the next two layers start out looking for
the token after an earlier copy of the current one ("induction heads", Olsson et al. 2022,
arXiv:2209.11895). A second head of the first layer looks at the last number of a passage, and a
second head of the second layer lets a word of the question find the passages that have it. Training
then changes these weights like all others. Knows nothing of the lessons.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaAttention

from .tokenizer import MAX_NUMBERED


#: Parts of the residual stream: which token, the token before, the next token, the passage a token
#: stands in, the passage that holds the same token, whether a passage or question begins, and a
#: constant.
TOKEN = slice(0, 96)
BEFORE = slice(96, 160)
NEXT = slice(160, 224)
PASSAGE = slice(224, 238)
HELD_BY = slice(238, 252)
BEGINS = 252
CONSTANT = 255
#: Value of the constant part; the token part has unit variance.
LEVEL = 6.0
#: Rotary pairs fast enough to tell neighbours apart, and slow enough to match over a prompt.
FAST_PAIRS = 16
SLOW_PAIR = 20
#: Rotary pairs that turn by less than half a circle over a prompt: nearer is stronger.
RECENT_PAIRS = slice(14, 19)
#: A row of the slowest pair.
LAST_PAIR = 31
#: Length of the code that stands for a passage.
CODE_LENGTH = 4.0


@torch.no_grad()
def prime(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    """Set embeddings and the first two heads of the first layers, in place."""
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
    model.model.norm.weight[NEXT.stop :] = 0.0
    codes = CODE_LENGTH * _orthonormal(MAX_NUMBERED + 1, _width(PASSAGE), generator)
    for token, code in _beginnings(tokenizer, codes):
        embeddings[token, PASSAGE] = code
        embeddings[token, BEGINS] = LEVEL / 2
    _look_back(model, to_before)
    for layer in (1, 2):
        _match(model, layer, to_before, to_next, generator)
    _look_at_number(model)
    _find_passage(model, codes[0] / CODE_LENGTH, generator)


def _width(part: slice) -> int:
    return int(part.stop - part.start)


def _beginnings(
    tokenizer: PreTrainedTokenizerFast, codes: torch.Tensor
) -> Iterator[tuple[int, torch.Tensor]]:
    """Give the tokens that begin a passage or the question, with their codes."""
    for space in ("", " "):
        for number, code in enumerate(codes):
            (token, *_) = tokenizer.encode(
                f"{space}[{number}]" if number else f"{space}Question", add_special_tokens=False
            )
            yield token, code


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
    _clear_head(model, 0, 0)
    attention.q_proj.weight[:FAST_PAIRS, CONSTANT] = strength * angles.cos()
    attention.q_proj.weight[half : half + FAST_PAIRS, CONSTANT] = -strength * angles.sin()
    attention.k_proj.weight[:FAST_PAIRS, CONSTANT] = strength
    attention.v_proj.weight[:size, TOKEN] = to_before
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
    _clear_head(model, layer, 0)
    queries = torch.zeros(size, to_before.shape[1])
    queries[rows] = match @ to_before
    keys = torch.zeros(size, to_before.shape[0])
    keys[rows] = match
    attention.q_proj.weight[:size, TOKEN] = queries
    attention.k_proj.weight[:size, BEFORE] = keys
    attention.v_proj.weight[:size, TOKEN] = to_next
    attention.o_proj.weight[NEXT, :size] = torch.eye(size)


def _look_at_number(model: LlamaForCausalLM) -> None:
    """Let the second head of the first layer read the code of the last beginning into PASSAGE."""
    attention = model.model.layers[0].self_attn
    rows = _clear_head(model, 0, 1)
    attention.q_proj.weight[rows][RECENT_PAIRS, CONSTANT] = 1.5
    attention.k_proj.weight[rows][RECENT_PAIRS, BEGINS] = 1.5
    _carry_passage(attention, rows, PASSAGE)


def _find_passage(
    model: LlamaForCausalLM, question: torch.Tensor, generator: torch.Generator
) -> None:
    """Let the second head of the second layer find the same two tokens outside the question."""
    attention = model.model.layers[1].self_attn
    rows = _clear_head(model, 1, 1)
    half = attention.head_dim // 2
    slow = [*range(SLOW_PAIR, LAST_PAIR), *range(half + SLOW_PAIR, half + LAST_PAIR)]
    for part, strength in ((TOKEN, 1.7), (BEFORE, 1.2)):
        match = strength * _orthonormal(len(slow), _width(part), generator)
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight[rows][slow, part] = match
    attention.q_proj.weight[rows][LAST_PAIR, CONSTANT] = 3.3
    attention.k_proj.weight[rows][LAST_PAIR, PASSAGE] = -3.3 * question
    _carry_passage(attention, rows, HELD_BY)


def _carry_passage(attention: LlamaAttention, rows: slice, target: slice) -> None:
    """Let a head write what it reads in PASSAGE to another part of the stream."""
    code = torch.eye(_width(PASSAGE))
    attention.v_proj.weight[rows][: len(code), PASSAGE] = code
    attention.o_proj.weight[:, rows][target, : len(code)] = code


def _clear_head(model: LlamaForCausalLM, layer: int, head: int) -> slice:
    """Set a head to zero, and return its rows."""
    attention = model.model.layers[layer].self_attn
    rows = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[rows] = 0.0
    attention.o_proj.weight[:, rows] = 0.0
    return rows
