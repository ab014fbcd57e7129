"""What `ts.handler_utils` has for handlers besides sending and measuring."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast


pytestmark = pytest.mark.usefixtures("ts")


def find(name: str) -> Any:
    """Import what handlers import."""
    return importlib.import_module(name)


def test_cuts_english_as_torchtext_does() -> None:
    """Signs stand alone, quotes go, semicolons are blanks, and all is lower case."""
    cut = find("ts.handler_utils.text_utils").get_tokenizer("basic_english")

    assert cut('He said: "Don\'t;  (go)<br />Now!"') == [
        *("he", "said", "don", "'", "t", "(", "go", ")", "now", "!")
    ]
    assert find("ts.handler_utils.text_utils").get_tokenizer(None)("A  b.") == ["A", "b."]


def test_has_no_basic_english_of_another_language() -> None:
    """It is told, as torchtext does."""
    with pytest.raises(ValueError, match="'de'"):
        find("ts.handler_utils.text_utils").get_tokenizer("basic_english", "de")


def test_gives_tokens_then_pairs() -> None:
    """All tokens come first."""
    grams = find("ts.handler_utils.text_utils").ngrams_iterator(["here", "we", "are"], 2)

    assert list(grams) == ["here", "we", "are", "here we", "we are"]


def test_makes_attributions_comparable() -> None:
    """A softmax of them, over the norm of its sums."""
    handler = find("ts.torch_handler.text_classifier").TextClassifier()
    given = torch.tensor([[0.0, 0.0], [0.0, 0.0]])

    assert handler.summarize_attributions(given).tolist() == [[pytest.approx(0.3535534)] * 2] * 2
    cube = handler.summarize_attributions(torch.zeros(1, 3, 2))
    assert cube.flatten().tolist() == [pytest.approx(0.2886751)] * 6


def test_finds_a_class_by_its_name() -> None:
    """Below a prefix or not; what there is not is told."""
    find_class = find("ts.handler_utils.utils").import_class

    assert find_class("collections.OrderedDict") is find_class("OrderedDict", "collections")
    assert find_class("abc.Mapping", "collections").__name__ == "Mapping"
    for name, message in (("collections.Nope", "'Nope'"), ("Nope", "no class"), ("", "no class")):
        with pytest.raises(ImportError, match=message):
            find_class(name)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Give a tokenizer of four words."""
    tokenizers = pytest.importorskip("tokenizers")
    words = {"a": 0, "b": 1, "c": 2, "d": 3}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=made)


def test_streams_a_batch_row_by_row(tokenizer: PreTrainedTokenizerFast) -> None:
    """Each piece has a text of every row; prompts are passed over where that is said."""
    streamer = find("ts.handler_utils.hf_batch_streamer").TextIteratorStreamerBatch(
        tokenizer, batch_size=2, skip_prompt=True, timeout=10
    )
    streamer.put(torch.tensor([[3, 3], [3, 3]]))
    for pair in ([0, 1], [1, 2], [2, 3]):
        streamer.put(torch.tensor(pair))
    streamer.end()
    pieces = list(streamer)

    assert all(len(piece) == 2 for piece in pieces)
    texts = ["".join(piece[row]["text"] for piece in pieces).strip() for row in (0, 1)]
    assert texts == ["a b c", "b c d"]


def test_refuses_another_number_of_rows(tokenizer: PreTrainedTokenizerFast) -> None:
    """It is for so many rows."""
    streamer = find("ts.handler_utils.hf_batch_streamer").TextIteratorStreamerBatch(tokenizer, 2)
    with pytest.raises(ValueError, match=r"2 rows.*\(1, 2\)"):
        streamer.put(torch.tensor([[3, 3]]))
