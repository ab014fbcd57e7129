"""The first weights of the tiny Llama: they tell passages apart before any training."""

from __future__ import annotations

import pytest


torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from examples.tiny_models.evaluate import FOLDER, rag_messages  # noqa: E402 - needs torch
from examples.tiny_models.passages import to_prompt  # noqa: E402
from examples.tiny_models.priming import HELD_BY, PASSAGE, prime  # noqa: E402
from examples.tiny_models.train_llama import make_model  # noqa: E402


PASSAGES = (
    "The harbour clock is wound on Fridays.",
    "Zelmira Quoss paints the lantern.",
    "Nobody visits the granite tower.",
)


def test_finds_the_passage_that_a_word_of_the_question_stands_in() -> None:
    """The code of the passage reaches the words of the question that stand in it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    model = make_model(tokenizer, 1)
    prime(model, tokenizer, 1)
    chat = rag_messages(to_prompt(PASSAGES, "Who paints the lantern?"))
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    tokens = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
    numbers = [tokenizer.encode(f"[{n}]", add_special_tokens=False)[0] for n in (1, 2, 3)]
    codes = model.model.embed_tokens.weight[numbers, PASSAGE]

    with torch.no_grad():
        states = model(tokens, output_hidden_states=True).hidden_states[2][0]

    word = tokenizer.encode(" lantern", add_special_tokens=False)
    first = max(
        place
        for place in range(tokens.shape[1])
        if tokens[0, place : place + len(word)].tolist() == word
    )
    scores = states[first + len(word) - 1, HELD_BY] @ codes.T
    assert scores.argmax().item() == 1
    assert scores[1] > 2 * scores[0]
