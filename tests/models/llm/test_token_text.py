"""What a token by itself looks like."""

from __future__ import annotations

from tiny_model import make_tokenizer
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from torchloom_models.llm.token_text import TokenText, to_token_texts


def _byte_fallback() -> PreTrainedTokenizerFast:
    """Give a vocabulary as SentencePiece makes them."""
    words = ["<unk>", "<s>", "\u2581the", "\u2581", "fox", "<0xE6>", "<0x9D>", "<0xB1>"]
    inner = Tokenizer(models.BPE(dict(zip(words, range(8), strict=True)), [], byte_fallback=True))
    inner.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", unk_token="<unk>")


def test_puts_bytes_together_to_the_text() -> None:
    """Byte-level tokens, also those that split a character, are the bytes of the text."""
    tokenizer = make_tokenizer()
    texts = to_token_texts(tokenizer)
    text = "the quick café 東京\n 🙂 \x07\x7f\u00ad"
    tokens = [texts(token) for token in tokenizer(text)["input_ids"]]

    assert b"".join(token.content for token in tokens) == text.encode()
    assert TokenText(" quick", b" quick") in tokens


def test_shows_the_bytes_of_what_is_no_character() -> None:
    """Half a character is written as its bytes in hexadecimal."""
    tokenizer = make_tokenizer()
    texts = to_token_texts(tokenizer)
    half = tokenizer.convert_tokens_to_ids("æ")  # byte 0xe6, as byte-level vocabularies write it

    assert texts(half) == TokenText(r"\xe6", b"\xe6")


def test_reads_vocabularies_that_fall_back_to_bytes() -> None:
    """SentencePiece's sign is a space, at the beginning too; bytes are bytes."""
    texts = to_token_texts(_byte_fallback())
    bytes_ = [texts(token) for token in (5, 6, 7)]

    assert [texts(token).text for token in (2, 3, 4)] == [" the", " ", "fox"]
    assert b"".join(each.content for each in bytes_).decode() == "東"
    assert bytes_[0].text == r"\xe6"


def test_names_special_tokens_and_no_others() -> None:
    """A special token shows its name; one that no vocabulary has shows nothing."""
    for texts in (to_token_texts(make_tokenizer()), to_token_texts(_byte_fallback())):
        assert texts(1) == TokenText("<s>", b"<s>")
        assert texts(100_000) == TokenText("", b"")
