"""Detokenizer: whole characters alone, and together the decoded list."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from tiny_model import make_tokenizer
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from torchloom_models.llm.detokenizer import Detokenizer
from torchloom_models.llm.tokenizer import Tokenizer


SPACE = "\u2581"

WORDS = [SPACE, "a", ",", f"{SPACE}Hello", f"{SPACE}world", "wor", "ld", f"{SPACE}{SPACE}"]


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


def _pieces() -> Tokenizer:
    """As Llama 2 and Mistral have it: SentencePiece's BPE, with tokens for bytes."""
    words = ["<unk>", "<s>", *(f"<0x{n:02X}>" for n in range(256)), *WORDS]
    vocabulary = {word: number for number, word in enumerate(words)}
    inner = Inner(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return _wrap(inner)


def _metaspace() -> Tokenizer:
    """As T5 and newer exports have it, in one decoder."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<s>", *WORDS])}
    inner = Inner(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    inner.decoder = decoders.Metaspace(prepend_scheme="first")
    return _wrap(inner)


def _wrap(inner: Inner) -> Tokenizer:
    return Tokenizer(
        PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", unk_token="<unk>")
    )


@pytest.mark.parametrize("make", [_pieces, _metaspace])
def test_goes_on_from_the_prompt(make: Callable[[], Tokenizer]) -> None:
    """What an answer adds to its prompt's text, a space at its beginning included."""
    tokenizer = make()
    ids = tokenizer.vocabulary
    hello, world, comma = ids[f"{SPACE}Hello"], ids[f"{SPACE}world"], ids[","]
    for prompt, answer, adds in (
        ([hello], [world], " world"),
        ([ids["<s>"], hello], [comma, world], ", world"),
        # What ends a turn has no text: what stands before it has.
        ([hello, *[ids["<s>"]] * 9], [world, comma], " world,"),
        ([hello, ids[SPACE]], [ids[SPACE], world], "  world"),
        # Nothing is gone on from here.
        ([ids["<s>"]], [world, world], "world world"),
    ):
        detokenizer = tokenizer.detokenizer(prompt)
        pieces = [detokenizer.push(token) for token in answer]

        assert "".join(pieces) == adds
        assert adds == _adds(tokenizer, prompt, answer)
        assert detokenizer.num_given == len(adds)


@pytest.mark.parametrize("make", [_pieces, _metaspace])
def test_adds_up_after_any_prompt(make: Callable[[], Tokenizer]) -> None:
    """Prompts and answers of any words, spaces and special tokens."""
    tokenizer, chance = make(), random.Random(3)
    tokens = [tokenizer.vocabulary[word] for word in ("<s>", *WORDS)]
    for _ in range(300):
        prompt = [tokenizer.vocabulary["a"], *chance.choices(tokens, k=chance.randrange(12))]
        answer = chance.choices(tokens, k=chance.randrange(1, 12))
        detokenizer = tokenizer.detokenizer(prompt)

        found = "".join(detokenizer.push(token) for token in answer)
        assert found == _adds(tokenizer, prompt, answer)


def test_goes_on_behind_broken_bytes() -> None:
    """A character that the prompt left unfinished is not told again with the answer."""
    before = b"a\xff\xf0\x9f"
    detokenizer = Detokenizer(_decode_bytes, before)

    pieces = [detokenizer.push(byte) for byte in "🙂b".encode()]

    assert "".join(pieces) == "🙂b"


def _adds(tokenizer: Tokenizer, prompt: list[int], answer: list[int]) -> str:
    return tokenizer.decode(prompt + answer)[len(tokenizer.decode(prompt)) :]
