"""The trained folder: its size, its shape, and that it answers rightly."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest


torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from examples.tiny_models.evaluate import (  # noqa: E402 - only where torch is installed
    FOLDER,
    answer_all,
    picture_messages,
    rag_messages,
    score_answers,
)
from examples.tiny_models.passages import REFUSAL, to_prompt  # noqa: E402
from examples.tiny_models.scenes import parse  # noqa: E402


PASSAGES = (
    "The reading room of the Velmora Institute opens at 09:35. Tea is served at four.",
    "The Velmora Institute is led by Quentin Marblethorpe. It owns two ponies.",
    "The boat store is used for drying nets. Its code is ZK-582.",
)


@pytest.fixture(scope="module")
def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Load the tokenizer of the folder."""
    return transformers.AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> transformers.LlamaForCausalLM:
    """Load the model of the folder, in fp32."""
    torch.set_num_threads(2)
    return transformers.AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


def test_is_small_and_readable() -> None:
    """Weights take 12 MB at most, and every file can be read by everyone."""
    files = [path for path in Path(FOLDER).iterdir() if path.is_file()]

    assert (FOLDER / "model.safetensors").stat().st_size <= 12_000_000
    assert all(path.stat().st_mode & stat.S_IROTH for path in files)


def test_gives_back_text_as_it_was(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    """Decoding gives the text back without the space that begins it."""
    tokens = tokenizer.encode(" Zoë pays €4.50 at 21:40.\nK-417", add_special_tokens=False)

    assert tokenizer.decode(tokens) == "Zoë pays €4.50 at 21:40.\nK-417"


def test_answers_in_the_words_of_the_passages(
    model: transformers.LlamaForCausalLM, tokenizer: transformers.PreTrainedTokenizerFast
) -> None:
    """Names and codes never seen before are copied, and what is not said is refused."""
    expected = {
        "Who leads the Velmora Institute?": "Quentin Marblethorpe.",
        "What is the code of the boat store?": "ZK-582.",
        "How much does the boat store weigh?": REFUSAL,
    }
    chats = [rag_messages(to_prompt(PASSAGES, question)) for question in expected]

    answers = answer_all(model, tokenizer, chats, max_new_tokens=40)

    assert expected == dict(zip(expected, answers, strict=True))


def test_writes_as_many_prompts_as_asked(
    model: transformers.LlamaForCausalLM, tokenizer: transformers.PreTrainedTokenizerFast
) -> None:
    """Each count from 1 to 8 gives that many different lines of the scene language."""
    chats = [
        picture_messages(f"Write {count} picture prompts, one a line, about: red circles")
        for count in range(1, 9)
    ]

    answers = answer_all(model, tokenizer, chats, max_new_tokens=240)

    assert list(range(1, 9)) == [len(set(answer.split("\n"))) for answer in answers]
    assert all(parse(line) for answer in answers for line in answer.split("\n"))


def test_stays_above_its_floor(
    model: transformers.LlamaForCausalLM, tokenizer: transformers.PreTrainedTokenizerFast
) -> None:
    """Forty held-out cases score above the floor that the README promises, with room for chance."""
    scores = score_answers(model, tokenizer, num_cases=40, seed=21)

    assert scores["answer_exact"] >= 0.8
    assert scores["refusal_right"] >= 0.8
    assert scores["prompts_well_formed"] >= 0.85
