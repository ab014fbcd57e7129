"""ToolFormat: known from a chat template, and refused where it cannot be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import pytest
from families import HERMES, NOW, TEMPLATES, WEATHER
from tiny_model import make_tokenizer

from torchloom.errors import InvalidInput
from torchloom_models.llm.grammar.grammar import Grammar
from torchloom_models.llm.grammar.vocabulary import to_vocabulary
from torchloom_models.llm.tokenizer import Tokenizer
from torchloom_models.llm.tool.format import pick_format
from torchloom_models.llm.tool.offer import Offer


FITS: Final = '{"place": "Oslo", "unit": "kelvin"}'

#: A tool whose calls are held to its schema, beside one whose calls are not.
TOOLS: Final = [
    {"type": "function", "function": {**WEATHER["function"], "strict": True}},
    {**NOW, "function": {"name": "now", "parameters": {"not": {}}, "strict": False}},
]


def _goes_on(family: str, text: str, *, special: bool = False, **inputs: object) -> bool:
    """Say whether an answer may begin so, where tools may be called."""
    inner = make_tokenizer()
    format_ = pick_format(family, HERMES)
    if special:
        inner.add_special_tokens({"additional_special_tokens": [format_.begin]})
    tokenizer = Tokenizer(inner)
    marks: Mapping[str, int] = tokenizer.special_tokens(format_.marks)
    offer = Offer.from_inputs({"tools": TOOLS, **inputs})
    assert offer is not None
    vocabulary = to_vocabulary(
        tokenizer.to_json(), vocabulary_size=len(inner), end_tokens=[inner.eos_token_id]
    )
    state = Grammar(format_.constrain(offer, marks), vocabulary).begin()
    tokens = inner(text, add_special_tokens=False)["input_ids"]
    return state._matcher.validate_tokens(tokens) == len(tokens)


def _call(family: str, name: str, arguments: str) -> str:
    """Write a call as the family does."""
    key = "parameters" if family == "llama3_json" else "arguments"
    call = f'{{"name": {json.dumps(name)}, "{key}": {arguments}}}'
    return {
        "hermes": f"<tool_call>\n{call}\n</tool_call>",
        "llama3_json": f"<|python_tag|>{call}",
        "mistral": f"[TOOL_CALLS][{call}]",
    }[family]


@pytest.mark.parametrize("family", TEMPLATES)
def test_is_known_from_the_template(family: str) -> None:
    """Each family's template shows how it writes calls."""
    assert pick_format(None, TEMPLATES[family]).name == family


def test_is_what_the_model_file_says() -> None:
    """`tool_format` goes before what the template shows."""
    assert pick_format("mistral", HERMES).name == "mistral"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (None, "knows no tools"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "knows no tools"),
        ("{{ tools }} <|call|>", "`tool_format:`"),
        ("{{ tools }} [TOOL_CALLS]name[ARGS]{}", "`tool_format:`"),
        ("{{ tools }} <tool_call><function=f>", "`tool_format:`"),
    ],
)
def test_is_refused_where_the_template_shows_none(template: str | None, says: str) -> None:
    """Tools are refused where the model would not hear of them, or its calls not be read."""
    with pytest.raises(InvalidInput, match=says):
        pick_format(None, template)


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("before", ["", "I look. "])
def test_holds_calls_that_may_be_made(family: str, before: str, *, special: bool) -> None:
    """Text is free; a call of a strict tool fits its schema, another's is an object."""
    good = before + _call(family, "get_weather", FITS)

    assert _goes_on(family, before + "3 < 4 [ok] \u00e9 {", special=special)
    assert _goes_on(family, good, special=special)
    assert _goes_on(family, before + _call(family, "now", '{"a": [1]}'), special=special)
    for name, arguments in (("get_weather", '{"place": 1'), ("now", "[1]"), ("then", "{}")):
        assert not _goes_on(family, before + _call(family, name, arguments), special=special)
    assert not _goes_on(family, good + "more", special=special)


@pytest.mark.parametrize("family", ["hermes", "mistral"])
def test_holds_to_one_call(family: str) -> None:
    """Another may follow, unless calls are not to be parallel."""
    call = _call(family, "get_weather", FITS)
    another = f"\n{call}" if family == "hermes" else call.removeprefix("[TOOL_CALLS][")
    two = f"{call}{another}" if family == "hermes" else f"{call[:-1]}, {another}"

    for inputs in ({}, {"tool_choice": "required"}):
        tools = {"tools": TOOLS[:1], **inputs}
        assert _goes_on(family, two, **tools)
        assert _goes_on(family, call, parallel_tool_calls=False, **tools)
        assert not _goes_on(family, two, parallel_tool_calls=False, **tools)


@pytest.mark.parametrize("space", ["", "\n", "\x1c", "\u2003"])
def test_takes_a_first_object_for_a_call(space: str) -> None:
    """Llama 3 marks no call that is all of an answer: an object there is one, or there is none."""
    call = _call("llama3_json", "get_weather", FITS).removeprefix("<|python_tag|>")

    assert _goes_on("llama3_json", call)
    assert not _goes_on("llama3_json", '{"a"')
    assert _goes_on("llama3_json", space + "so {")
    assert not space or not _goes_on("llama3_json", space + "{")
