"""Vocabulary: a model's tokens as bytes, which grammars are matched by. Knows no grammar."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from llguidance import LLTokenizer

from torchloom.errors import InvalidInput


#: The mark that stands for a space in SentencePiece's tokens.
_SPACE: Final = "\u2581"

_PIECES: Final = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ],
}


def to_vocabulary(
    tokenizer: str | None, *, vocabulary_size: int, end_tokens: Iterable[int]
) -> LLTokenizer:
    """Read a tokenizer's own JSON. Raises InvalidInput for one whose tokens have no bytes."""
    if tokenizer is None:
        raise _error("its tokenizer is not one of the fast ones (`tokenizer.json`)")
    ends = sorted(end_tokens)
    if not ends:
        raise _error("it has no end token")
    try:
        return LLTokenizer(_readable(tokenizer), n_vocab=vocabulary_size, eos_token=ends)
    except ValueError as error:
        raise _error(str(error)) from error


def _readable(tokenizer: str) -> str:
    """Write the decoder of SentencePiece's tokens in the one form that is read."""
    document = json.loads(tokenizer)
    decoder = document.get("decoder") or {}
    steps = decoder.get("decoders", [decoder])
    kinds = {step.get("type") for step in steps}
    is_marked = "Metaspace" in kinds or any(
        step.get("pattern") == {"String": _SPACE} for step in steps
    )
    if not is_marked or kinds & {"ByteLevel", "ByteFallback"}:
        return tokenizer
    return json.dumps({**document, "decoder": _PIECES})


def _error(why: str) -> InvalidInput:
    return InvalidInput(f"This model's answers cannot be held to a form: {why}.")
