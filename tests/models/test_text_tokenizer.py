"""Texts to token ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from torchloom.errors import ModelLoadError
from torchloom_models.text_tokenizer import TextTokenizer


pytestmark = pytest.mark.slow


def make(*, max_length: int = 3, is_lower_case: bool = False) -> TextTokenizer:
    """Make a tokenizer of two words."""
    inner = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return TextTokenizer(inner, max_length=max_length, pad_id=0, is_lower_case=is_lower_case)


def test_cuts_at_the_models_length_and_never_pads() -> None:
    """Each text has its own number of tokens, and none has too many."""
    assert make().encode(["a b", "a a a b b", ""]) == [[1, 2], [1, 1, 1], []]


def test_finds_the_first_text_that_would_be_cut() -> None:
    """A text of just the length is whole."""
    assert make().find_too_long(["a", "a b a", "a b a b", "b b b b"]) == 2
    assert make().find_too_long(["a b a"]) is None


def test_lowers_the_case_where_the_model_wants_it() -> None:
    """Some models say so beside the tokenizer."""
    assert make(is_lower_case=True).encode(["A B"]) == [[1, 2]]
    assert make().encode(["A B"]) == [[0, 0]]


def test_says_which_tokenizer_could_not_be_loaded(tmp_path: Path) -> None:
    """The message names the folder."""
    with pytest.raises(ModelLoadError, match=str(tmp_path)):
        TextTokenizer.from_folder(tmp_path, max_lengths=[8], is_lower_case=False)
