"""The tiny Stable Diffusion's tokenizer: whole words of the scene language, and any other text."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest


transformers = pytest.importorskip("transformers")

from examples.tiny_models.clip_tokenizer import (  # noqa: E402 - needs transformers
    MAX_TOKENS,
    make_tokenizer,
)
from examples.tiny_models.scenes import random_scene  # noqa: E402


TEXTS = (
    "a small red circle at the top left on a white background",
    "Zoë draws 12 crimson kites — for €4.50",
    "中文 🙂 \x00 \ud7ff",
    "",
    "unbelievably",
)


@pytest.fixture(scope="module")
def tokenizer() -> transformers.CLIPTokenizer:
    """Make the tokenizer anew."""
    return make_tokenizer()


def test_gives_each_scene_word_one_token(tokenizer: transformers.CLIPTokenizer) -> None:
    """A prompt has as many tokens as words, and begin and end; the longest fits."""
    random = Random(1)

    for _ in range(500):
        prompt = random_scene(random).to_prompt()
        tokens = tokenizer(prompt).input_ids

        assert len(tokens) == len(prompt.split()) + 2 <= MAX_TOKENS
        assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == prompt


@pytest.mark.parametrize("text", TEXTS)
def test_reads_any_text(tokenizer: transformers.CLIPTokenizer, text: str) -> None:
    """No text has a token that stands for something unknown; long ones are cut."""
    tokens = tokenizer(text).input_ids
    cut = tokenizer(text * 40, truncation=True, max_length=MAX_TOKENS).input_ids

    assert tokens[0] == tokenizer.bos_token_id
    assert tokens.index(tokenizer.eos_token_id) == len(tokens) - 1
    assert max(tokens) < len(tokenizer)
    assert len(cut) <= MAX_TOKENS


def test_is_the_same_from_its_folder(tokenizer: transformers.CLIPTokenizer, tmp_path: Path) -> None:
    """Saved and loaded as a CLIPTokenizer, it gives the same tokens."""
    tokenizer.save_pretrained(tmp_path)
    loaded = transformers.CLIPTokenizer.from_pretrained(tmp_path)

    assert loaded.model_max_length == MAX_TOKENS
    assert [tokenizer(text).input_ids for text in TEXTS] == [
        loaded(text).input_ids for text in TEXTS
    ]


def test_is_the_same_each_time(tokenizer: transformers.CLIPTokenizer) -> None:
    """Made twice, it has the same vocabulary."""
    assert tokenizer.get_vocab() == make_tokenizer().get_vocab()
