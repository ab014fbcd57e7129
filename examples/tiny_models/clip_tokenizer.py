"""The tiny Stable Diffusion's tokenizer: CLIP's byte-level BPE, one token for each scene word.

Owns the vocabulary. Words outside the scene language become several tokens, down to single bytes,
so any text can be read.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from .scenes import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES


BEGIN, END = "<|startoftext|>", "<|endoftext|>"
#: A scene of two figures takes 23 tokens at most.
MAX_TOKENS = 32

_WORD_END = "</w>"


def make_tokenizer() -> CLIPTokenizer:
    """Make the tokenizer; it is the same each time."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(letter + _WORD_END for letter in letters)]
    merges = _merge_words(_words())
    # Two merges may make the same piece.
    vocabulary = dict.fromkeys([*pieces, *("".join(pair) for pair in merges), BEGIN, END])
    return CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(vocabulary)},
        merges=merges,
        model_max_length=MAX_TOKENS,
    )


def _words() -> list[str]:
    texts = ("a", "and", "on", "background", *SIZES, *COLOURS, *SHAPES, *PLACES, *BACKGROUNDS)
    return sorted({word for text in texts for word in text.split()})


def _merge_words(words: list[str]) -> list[tuple[str, str]]:
    """Find the merges, in their order, that make one piece of each word (Gage, 1994)."""
    split = [[*word[:-1], word[-1] + _WORD_END] for word in words]
    merges = []
    while True:
        counts = Counter(pair for pieces in split for pair in pairwise(pieces))
        if not counts:
            return merges
        # The alphabet decides between equals, so that it is the same each time.
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(pair)
        split = [_merge(pieces, pair) for pieces in split]


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
