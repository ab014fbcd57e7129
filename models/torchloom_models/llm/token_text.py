"""TokenTexts: what a token by itself looks like, as text and as bytes. Knows no sequence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple, Protocol, cast

from transformers import PreTrainedTokenizerBase


#: How a token that stands for one byte is written where vocabularies fall back to bytes.
_BYTE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")

#: What stands for a space in vocabularies of SentencePiece.
_SPACE: Final = "\u2581"

#: Bytes that byte-level vocabularies write as the character of the same number; others follow on
#: 256, in their order.
_PRINTABLE: Final = (range(33, 127), range(161, 173), range(174, 256))


class TokenText(NamedTuple):
    r"""A token: `text` shows its bytes as `\xe2\x80` where they are no whole characters."""

    text: str
    content: bytes


class TokenTexts(Protocol):
    """Gives what a token looks like; nothing at all for one that no vocabulary has."""

    def __call__(self, token: int) -> TokenText:
        """Look a token up."""
        ...


def to_token_texts(tokenizer: PreTrainedTokenizerBase) -> TokenTexts:
    """Give what tells the tokens of a tokenizer; each is worked out once."""
    added: Mapping[int, object] = tokenizer.added_tokens_decoder
    is_byte_level = "ByteLevel" in _decoder(tokenizer)

    @cache
    def look_up(token: int) -> TokenText:
        piece = cast("str | None", _piece(tokenizer, token))
        if piece is None:
            return TokenText("", b"")
        if token in added:
            return TokenText(piece, piece.encode())
        byte = _BYTE.fullmatch(piece)
        if is_byte_level:
            return _show(_to_bytes(piece))
        return _show(bytes([int(byte[1], 16)]) if byte else piece.replace(_SPACE, " ").encode())

    return look_up


def _piece(tokenizer: PreTrainedTokenizerBase, token: int) -> object:
    """Give a token as the vocabulary writes it; None where models have more tokens than it."""
    try:
        return tokenizer.convert_ids_to_tokens(token)
    except (IndexError, OverflowError):
        return None


def _decoder(tokenizer: PreTrainedTokenizerBase) -> str:
    """Give the description of how tokens become text, where there is one."""
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    return "" if decoder is None else bytes(decoder.__getstate__()).decode()


def _show(content: bytes) -> TokenText:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "".join(f"\\x{byte:02x}" for byte in content)
    return TokenText(text, content)


def _to_bytes(piece: str) -> bytes:
    table = _byte_table()
    if not all(character in table for character in piece):
        return piece.encode()
    return bytes(table[character] for character in piece)


@cache
def _byte_table() -> Mapping[str, int]:
    """Give the byte of each character that byte-level vocabularies write (GPT-2's table)."""
    printable: Sequence[int] = [byte for span in _PRINTABLE for byte in span]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + number): byte for number, byte in enumerate(others)}
