"""Grammar: on real vocabularies of every kind, what is drawn within the masks fits its form."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

import jsonschema_rs
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from torchloom.errors import InvalidInput
from torchloom_models.llm.grammar.constraint import Constraint
from torchloom_models.llm.grammar.grammar import Grammar
from torchloom_models.llm.grammar.mask import GrammarMask
from torchloom_models.llm.grammar.state import GrammarState
from torchloom_models.llm.grammar.vocabulary import to_vocabulary


END = 1
SIZE = 700
SPACE = "\u2581"


def _byte_level() -> Tokenizer:
    """As GPT-2 and Llama 3 have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(['{"name": "naïve", "size": 12}', "the fox"] * 5, trainer)
    return tokenizer


def _pieces(*, has_bytes: bool) -> Tokenizer:
    """As Llama 2 and Mistral have it: SentencePiece's BPE, with tokens for bytes or without."""
    words = ["<unk>", "</s>", *(f"<0x{n:02X}>" for n in range(256) if has_bytes)]
    words += [SPACE, *map(chr, range(33, 127)), SPACE + "t", "he", SPACE + "the", '{"', '":']
    merges = [(SPACE, "t"), ("h", "e"), (SPACE + "t", "he"), ("{", '"'), ('"', ":")]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=has_bytes)
    )
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    fallback = [decoders.ByteFallback()] if has_bytes else []
    steps = [decoders.Replace(SPACE, " "), *fallback, decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def _metaspace() -> Tokenizer:
    """As T5 and XLNet have it: SentencePiece's unigrams."""
    words = ["<unk>", "</s>", SPACE, *map(chr, range(33, 127)), SPACE + "the", '{"', '":']
    tokenizer = Tokenizer(models.Unigram([(word, -float(n)) for n, word in enumerate(words)], 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return tokenizer


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "byte_level": _byte_level,
    "pieces": lambda: _pieces(has_bytes=True),
    "pieces_without_bytes": lambda: _pieces(has_bytes=False),
    "metaspace": _metaspace,
}

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "likes": {"type": "array", "items": {"enum": ["ships", "cafés"]}, "maxItems": 3},
        "friend": {"anyOf": [{"$ref": "#/$defs/friend"}, {"type": "null"}]},
    },
    "required": ["name", "age", "friend"],
    "additionalProperties": False,
    "$defs": {
        "friend": {
            "type": "object",
            "properties": {"name": {"const": "Bo"}, "is_old": {"type": "boolean"}},
            "required": ["name"],
            "additionalProperties": False,
        }
    },
}


def _without_accents(schema: dict[str, object]) -> dict[str, object]:
    """Give what a vocabulary without bytes can write."""
    return json.loads(json.dumps(schema, ensure_ascii=False).replace("é", "e"))


def _grammar(tokenizer: Tokenizer, form: dict[str, object]) -> Grammar:
    vocabulary = to_vocabulary(tokenizer.to_str(), vocabulary_size=SIZE, end_tokens=[END])
    return Grammar(Constraint.from_params(form), vocabulary)


def _write(state: GrammarState, chance: random.Random, most: int = 400) -> list[int]:
    """Draw tokens at random among those that may follow, up to the end; `most` at the most."""
    mask = GrammarMask([0], [state], vocabulary_size=SIZE, device="cpu")
    tokens: list[int] = []
    while not state.is_over and len(tokens) < most:
        logits = torch.zeros(1, SIZE)
        mask.apply(logits)
        allowed = logits[0].isfinite().nonzero()[:, 0].tolist()
        if not allowed:
            break
        tokens.append(chance.choice(allowed))
        state.accept(tokens[-1])
    return tokens


@pytest.mark.parametrize("layout", TOKENIZERS)
def test_keeps_to_a_schema(layout: str) -> None:
    """Whatever is drawn, the text is JSON and fits the schema."""
    tokenizer = TOKENIZERS[layout]()
    schema = PERSON if layout in ("byte_level", "pieces") else _without_accents(PERSON)
    grammar = _grammar(tokenizer, {"json": schema})
    texts = set()
    for seed in range(15):
        state = grammar.begin()
        text = tokenizer.decode(_write(state, random.Random(seed)))
        assert state.is_over, text
        jsonschema_rs.validate(schema, json.loads(text))
        texts.add(text)

    assert len(texts) > 5


@pytest.mark.parametrize("layout", TOKENIZERS)
def test_keeps_to_a_regular_expression_and_to_choices(layout: str) -> None:
    """The whole text matches, anchors or not; one choice may begin another."""
    tokenizer = TOKENIZERS[layout]()
    dates, choices = set(), set()
    for seed in range(20):
        date = _grammar(tokenizer, {"regex": r"^[0-9]{4}-(0[1-9]|1[0-2])$"}).begin()
        dates.add(tokenizer.decode(_write(date, random.Random(seed))))
        choice = _grammar(tokenizer, {"choice": ["a", "ab", "the fox", 'q"\\']}).begin()
        choices.add(tokenizer.decode(_write(choice, random.Random(seed))))

    assert all(re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", date) for date in dates)
    assert choices == {"a", "ab", "the fox", 'q"\\'}


def test_takes_large_schemas() -> None:
    """Thousands of properties, values and choices are no hindrance."""
    tokenizer = _byte_level()
    wide = {"properties": {f"p{n}": {"type": "integer"} for n in range(2000)}, "type": "object"}
    forms = [
        {"json": {**wide, "required": [f"p{n}" for n in range(3)], "additionalProperties": False}},
        {"json": {"enum": [f"value {n}" for n in range(3000)]}},
        {"choice": [f"choice {n}" for n in range(5000)]},
    ]
    for form in forms:
        state = _grammar(tokenizer, form).begin()
        _write(state, random.Random(1), 25)
        assert not state.error


def test_writes_any_object() -> None:
    """`json_object` gives an object; the end may come where it is whole, and nowhere else."""
    tokenizer = _byte_level()
    grammar = _grammar(tokenizer, {"json_object": True})
    whole = 0
    for seed in range(30):
        state = grammar.begin()
        tokens = _write(state, random.Random(seed), 150)
        text = tokenizer.decode(tokens)
        assert text.startswith("{")
        if state.is_over:
            assert isinstance(json.loads(text), dict)
            whole += 1

    assert whole > 3


def test_ends_only_where_the_grammar_may() -> None:
    """The end token is among those that may follow once the text is whole."""
    tokenizer = _byte_level()
    state = _grammar(tokenizer, {"regex": "ab?"}).begin()
    mask = GrammarMask([1], [state], vocabulary_size=SIZE, device="cpu")
    first, second = torch.zeros(2, SIZE), torch.zeros(2, SIZE)

    mask.apply(first)
    state.accept(tokenizer.token_to_id("a"))
    mask.apply(second)

    assert first[0].isfinite().all()
    assert first[1].isfinite().nonzero()[:, 0].tolist() == [tokenizer.token_to_id("a")]
    assert second[1].isfinite().nonzero()[:, 0].tolist() == [END, tokenizer.token_to_id("b")]
    state.accept(END)
    assert state.is_over
    assert not state.error


def test_keeps_states_apart() -> None:
    """Answers with one grammar go their own ways; their masks are looked up together."""
    tokenizer = _byte_level()
    grammar = _grammar(tokenizer, {"choice": ["ab", "ba"]})
    states = [grammar.begin() for _ in range(3)]
    a, b = tokenizer.token_to_id("a"), tokenizer.token_to_id("b")
    states[0].accept(a)
    states[1].accept(b)
    logits = torch.zeros(3, SIZE)

    GrammarMask([0, 1, 2], states, vocabulary_size=SIZE, device="cpu").apply(logits)

    allowed = [row.isfinite().nonzero()[:, 0].tolist() for row in logits]
    assert allowed[:2] == [[b], [a]]
    assert {a, b} <= set(allowed[2])


def test_fails_where_a_vocabulary_lacks_what_must_follow() -> None:
    """A text that the model's tokens cannot write is no end: at its beginning it is refused."""
    tokenizer = _metaspace()
    with pytest.raises(InvalidInput, match="The choice cannot be kept to"):
        _grammar(tokenizer, {"choice": ["é"]})
    state = _grammar(tokenizer, {"choice": ["aé"]}).begin()
    tokens = _write(state, random.Random(1), 3)

    assert tokens[0] == tokenizer.token_to_id("a")
    assert state.error
    assert not state.is_over


def test_fails_its_own_row() -> None:
    """Where a grammar breaks nothing may follow, and the others are as they would be."""
    tokenizer = _byte_level()
    grammar = _grammar(tokenizer, {"choice": ["ab", "ba"]})
    good, bad = grammar.begin(), grammar.begin()
    bad.accept(tokenizer.token_to_id("x"))
    logits = torch.zeros(2, SIZE)

    GrammarMask([0, 1], [bad, good], vocabulary_size=SIZE, device="cpu").apply(logits)

    assert logits[0].isneginf().all()
    assert logits[1].isfinite().any()
    assert "grammar" in bad.error
    assert not good.error


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"regex": "(a"}, "unclosed group"),
        ({"regex": "(?=a)b"}, "look-around"),
        ({"regex": r"(a)\1"}, "backreferences are not supported"),
        ({"regex": "((a{100}){100}){100}"}, "too many expressions"),
        ({"regex": "a?" * 1000 + "a" * 1000}, "too many expressions"),
        ({"json": {"properties": {"a": {"not": {}}}}}, "stands at /properties/a/not"),
        ({"json": {"type": "array", "uniqueItems": True}}, '"uniqueItems"'),
        ({"json": {"$ref": "#/$defs/none"}}, "'/$defs/none' does not exist"),
        ({"json": {"$ref": "#"}}, "The JSON Schema"),
        ({"json": {"enum": []}}, "Unsatisfiable"),
        ({"json": {"type": "string", "format": "zork"}}, "zork"),
        (
            {
                "json": {
                    "allOf": [
                        {"anyOf": [{"required": [f"a{n}"]}, {"required": [f"b{n}"]}]}
                        for n in range(30)
                    ]
                }
            },
            "too large",
        ),
    ],
)
def test_refuses_what_it_cannot_keep_to(form: dict[str, object], says: str) -> None:
    """What is wrong, unknown or too much is refused by name, and nothing of it is left out."""
    with pytest.raises(InvalidInput) as caught:
        _grammar(_byte_level(), form)

    assert caught.value.message.startswith(("The JSON Schema", "The regular expression"))
    assert "cannot be kept to" in caught.value.message
    assert says in caught.value.message
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("tokenizer", "ends", "says"),
    [(None, [1], "fast ones"), ("{}", [], "no end token"), ("{}", [1], "cannot be held to a form")],
)
def test_says_which_models_cannot(tokenizer: str | None, ends: list[int], says: str) -> None:
    """A tokenizer whose tokens have no bytes, or a model without an end, is told apart."""
    with pytest.raises(InvalidInput, match=says):
        to_vocabulary(tokenizer, vocabulary_size=SIZE, end_tokens=ends)
