"""Detokenizer: whole characters alone, and together the decoded list."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tiny_model import make_tokenizer

from torchloom_models.llm.detokenizer import Detokenizer
from torchloom_models.llm.tokenizer import Tokenizer


def _decode_bytes(tokens: Sequence[int]) -> str:
    """Each token is one byte; 0 is special and has no text."""
    return bytes(token for token in tokens if token).decode(errors="replace")


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "naïve café",
        "東京 Αθήνα",
        "🙂🙃 👩‍👩‍👧",
        "e\u0301 ﷽ \U0010ffff",
        "spaces  and\n\ttabs ",
    ],
)
def test_sends_whole_characters(text: str) -> None:
    """A character whose bytes come one by one is sent when the last one is there."""
    detokenizer = Detokenizer(_decode_bytes)

    pieces = [detokenizer.push(byte) for byte in text.encode()]

    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_leaves_out_an_unfinished_character() -> None:
    """Bytes that never become a character are not sent."""
    detokenizer = Detokenizer(_decode_bytes)

    pieces = [detokenizer.push(byte) for byte in "a🙂".encode()[:-1]]

    assert "".join(pieces) == "a"


def test_goes_on_after_broken_bytes() -> None:
    """Bytes that are no character are shown as replaced once something follows them."""
    detokenizer = Detokenizer(_decode_bytes)

    pieces = [detokenizer.push(byte) for byte in b"a\xff\xff\xff\xffb"]

    assert "".join(pieces) == "a\ufffd\ufffd\ufffd\ufffdb"


def test_gives_broken_text_that_never_ends() -> None:
    """The window does not grow without bound over tokens that are no characters."""
    detokenizer = Detokenizer(_decode_bytes)

    pieces = [detokenizer.push(0xFF) for _ in range(500)]

    assert len("".join(pieces)) > 400
    assert len(detokenizer._window) <= 130


def test_keeps_no_special_tokens() -> None:
    """Tokens without text neither send anything nor pile up."""
    detokenizer = Detokenizer(_decode_bytes)

    pieces = [detokenizer.push(token) for token in (97, 0, 0, 0, 98)]

    assert "".join(pieces) == "ab"
    assert len(detokenizer._window) <= 2


def test_agrees_with_the_tokenizer() -> None:
    """Pieces of a real byte-level vocabulary add up to the decoded text."""
    tokenizer = Tokenizer(make_tokenizer())
    text = "the quick café: 東京 🙂🙃 over the Αθήνα 中文 harbour"
    detokenizer = tokenizer.detokenizer()

    pieces = [detokenizer.push(token) for token in tokenizer.encode(text)]

    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
