"""Tokenizer: prompts, conversations, and templates that refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_model import make_tokenizer

from torchloom.errors import InvalidInput, ModelLoadError
from torchloom_models.llm.tokenizer import Tokenizer


def test_writes_a_conversation_as_the_template_says() -> None:
    """Messages go through the template, up to where the answer begins."""
    tokenizer = Tokenizer(make_tokenizer())

    tokens = tokenizer.encode_messages([{"role": "user", "content": "the fox"}])

    assert tokens == tokenizer.encode("<|user|>the fox<|end|><|assistant|>")


def test_prefers_the_template_of_the_model_file() -> None:
    """A template that is given takes the place of the tokenizer's."""
    tokenizer = Tokenizer(make_tokenizer(), chat_template="{{ messages[0].content }}!")

    tokens = tokenizer.encode_messages([{"role": "user", "content": "hi"}])

    assert tokenizer.decode(tokens) == "hi!"


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([{"role": "usr", "content": "x"}], "Did you mean 'user'?"),
        ([{"role": "user", "contents": "x"}], "Did you mean 'content'?"),
        ([{"role": "user", "content": ["x"]}], "messages[0] must have text"),
        (["hello"], "messages[0] must be an object"),
    ],
)
def test_refuses_messages_by_name(messages: list[object], says: str) -> None:
    """A message that is not well formed is refused before the template sees it."""
    with pytest.raises(InvalidInput) as caught:
        Tokenizer(make_tokenizer()).encode_messages(messages)

    assert says in caught.value.message


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{{ messages.clear() }}", "refuses"),
        ("{{ ''.__class__.__mro__ }}", "refuses"),
        ("{% for x in %}", "refuses"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_names_what_the_template_raised(template: str, says: str) -> None:
    """Whatever a template raises, the sandbox included, is the caller's error."""
    tokenizer = Tokenizer(make_tokenizer(), chat_template=template)

    with pytest.raises(InvalidInput) as caught:
        tokenizer.encode_messages([{"role": "user", "content": "x"}])

    assert says in caught.value.message


def test_says_that_there_is_no_template() -> None:
    """A model without a template takes prompts alone, and says so."""
    tokenizer = Tokenizer(make_tokenizer(chat_template=None))

    with pytest.raises(InvalidInput, match="no chat template"):
        tokenizer.encode_messages([{"role": "user", "content": "x"}])


def test_refuses_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    """A folder that holds no tokenizer stops the start."""
    with pytest.raises(ModelLoadError, match="tokenizer"):
        Tokenizer.from_folder(tmp_path)
