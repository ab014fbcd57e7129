"""Tools: by a real engine on models with random weights, which call because they must."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest
import torch
from families import NOW, TEMPLATES, WEATHER
from tiny_model import LAYOUTS, drain, ends, make_tokenizer, open_tiny
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from torchloom.engine import Chunk, Event, Result, Work
from torchloom.errors import InvalidInput
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.tool.format import pick_format


MARKS = ["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>"]

HELLO = [{"role": "user", "content": "how many ships?"}]

PARAMETERS = WEATHER["function"]["parameters"]

NAME = WEATHER["function"]["name"]


def _save(folder: Path, family: str, *, special: bool) -> Path:
    """Write a model whose marks are special tokens, or text as any."""
    torch.manual_seed(0)
    config = LlamaConfig(**{**LAYOUTS["llama"]().to_dict(), "max_position_embeddings": 2048})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    make_tokenizer(chat_template=TEMPLATES[family]).save_pretrained(folder)
    if special:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        # In place of tokens that are there: the model's vocabulary has no room for more.
        room = 384 - len(tokenizer)
        tokenizer.add_special_tokens({"additional_special_tokens": MARKS[: min(room, 4)]})
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=["hermes", "llama3_json", "mistral"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> LlmEngine:
    """Give an engine of each family."""
    return open_tiny(_save(tmp_path, request.param, special=False))


def _call(engine: LlmEngine, task_id: int = 0, **inputs: object) -> tuple[Result, list[Event]]:
    params = {"temperature": 1.5, "seed": task_id, "max_tokens": 200}
    engine.admit(Work(task_id, {"messages": HELLO, **inputs}, params))
    events = drain(engine)
    end = ends(events)[task_id]
    assert isinstance(end, Result), end
    return end, events


def _check(end: Result, events: list[Event], names: set[str]) -> int:
    calls = end.outputs["tool_calls"]
    assert isinstance(calls, list)
    assert calls
    assert end.outputs["finish_reason"] == "tool_calls", end.outputs
    assert end.outputs["text"] == ""
    for call in calls:
        assert call["function"]["name"] in names
        arguments = json.loads(call["function"]["arguments"])
        if call["function"]["name"] == "get_weather":
            jsonschema_rs.validate(PARAMETERS, arguments)
        else:
            assert arguments == {}
    chunks = [event.data for event in events if isinstance(event, Chunk)]
    assert not any("text" in chunk for chunk in chunks)
    pieces = [delta for chunk in chunks for delta in chunk["tool_calls"]]
    for number, call in enumerate(calls):
        told = [delta["function"] for delta in pieces if delta["index"] == number]
        assert told[0]["name"] == call["function"]["name"]
        whole = "".join(each.get("arguments", "") for each in told)
        assert whole == call["function"]["arguments"]
    return len(calls)


def test_must_call(engine: LlmEngine) -> None:
    """`required`: whatever the weights, the answer is calls whose arguments fit."""
    for seed in range(4):
        end, events = _call(
            engine,
            seed,
            tools=[WEATHER, NOW],
            tool_choice="required",
            parallel_tool_calls=False,
        )
        assert _check(end, events, {"get_weather", "now"}) == 1


def test_calls_what_is_named(engine: LlmEngine) -> None:
    """A named function is called, once."""
    choice = {"type": "function", "function": {"name": "get_weather"}}
    end, events = _call(engine, tools=[NOW, WEATHER], tool_choice=choice)

    assert _check(end, events, {"get_weather"}) == 1


def test_tells_the_model_of_its_tools(engine: LlmEngine) -> None:
    """Tools, calls and their results reach the template; with `none` there are no tools."""
    call = {
        "id": "abcdefghi",
        "type": "function",
        "function": {"name": "now", "arguments": '{"a": "ü"}'},
    }
    said = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "noon"},
    ]
    texts = []
    for choice in ("auto", "none"):
        inputs = {"messages": said, "tools": [NOW], "tool_choice": choice}
        engine.admit(Work(1, inputs, {"max_tokens": 1}))
        sequence = engine._sequences[1]
        texts.append(engine._reader._tokenizer._inner.decode(sequence.prompt))
        assert (sequence.calls is None) == (choice == "none")
        drain(engine)

    assert '"type": "function"' in texts[0]
    assert '"type": "function"' not in texts[1]
    for text in texts:
        assert '{"a": "ü"}' in text
        assert "noon" in text


def test_passes_text_on_where_nothing_is_called(engine: LlmEngine) -> None:
    """`auto`: what is no call is the text, and the answer's end is its own."""
    end, _ = _call(engine, tools=[NOW])
    plain, _ = _call(engine, tools=[NOW], tool_choice="auto")

    assert end.outputs["tool_calls"] == []
    assert end.outputs["text"] == plain.outputs["text"] != ""
    assert end.outputs["finish_reason"] in ("stop", "length")


@pytest.mark.parametrize("family", TEMPLATES)
def test_holds_calls_that_it_makes(family: str, tmp_path: Path) -> None:
    """`auto`: the arguments of a strict tool fit its schema once the model goes over to a call."""
    engine = open_tiny(_save(tmp_path, family, special=True))
    tokens = engine._reader._tokenizer.vocabulary
    begin = pick_format(family, TEMPLATES[family]).begin
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    # It begins with a call, and would go on with another: as Hermes writes them on a new line.
    bias = {str(tokens[begin]): 100, str(tokens["\u010a"]): 90}
    params = {"temperature": 1.5, "seed": 3, "max_tokens": 200, "logit_bias": bias}
    found = []
    for number, is_parallel in enumerate((True, False)):
        inputs = {"tools": [NOW, strict], "parallel_tool_calls": is_parallel}
        engine.admit(Work(number, {"messages": HELLO, **inputs}, params))
        events = drain(engine)
        end = ends(events)[number]
        assert isinstance(end, Result)
        found.append(end)
    for call in found[1].outputs["tool_calls"]:
        if call["function"]["name"] == "get_weather":
            jsonschema_rs.validate(PARAMETERS, json.loads(call["function"]["arguments"]))

    assert len(found[1].outputs["tool_calls"]) == 1
    assert found[1].outputs["finish_reason"] == "tool_calls"
    assert family != "hermes" or len(found[0].outputs["tool_calls"]) > 1
    assert found[0].outputs["tool_calls"][0]["function"] == call["function"]


@pytest.mark.parametrize("family", TEMPLATES)
def test_writes_marks_that_are_special_tokens(family: str, tmp_path: Path) -> None:
    """Marks that have no text elsewhere are written as the one token, and read."""
    engine = open_tiny(_save(tmp_path, family, special=True))
    special = engine._reader._tokenizer.special_tokens(MARKS)
    end, events = _call(engine, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False)

    assert special
    _check(end, events, {"get_weather"})


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("family", TEMPLATES)
def test_tells_the_tokens_of_calls(family: str, tmp_path: Path, *, special: bool) -> None:
    """Each once, those of marks too, with the pieces of the call; `offset` counts them all."""
    engine = open_tiny(_save(tmp_path, family, special=special))
    params = {"temperature": 1.5, "seed": 2, "max_tokens": 200, "logprobs": 1}
    inputs = {"messages": HELLO, "tools": [WEATHER], "tool_choice": "required"}
    engine.admit(Work(1, {**inputs, "parallel_tool_calls": False}, params))
    events = drain(engine)
    end = ends(events)[1]
    assert isinstance(end, Result)
    entries = end.outputs["logprobs"]
    chunks = [event.data for event in events if isinstance(event, Chunk)]
    written = b"".join(bytes(entry["bytes"]) for entry in entries).decode()

    assert [each for chunk in chunks for each in chunk.get("logprobs", ())] == entries
    assert len(entries) == end.counts["completion_tokens"]
    assert json.dumps(NAME) in written
    # Bytes that are no whole character stand in no text.
    for entry in (each for each in entries if not each["token"].startswith("\\x")):
        assert written[entry["offset"] :].startswith(entry["token"])
    assert any("tool_calls" in chunk and "logprobs" in chunk for chunk in chunks)
    assert all(chunk["text"] == "" for chunk in chunks if "text" in chunk)


def test_tells_the_tokens_of_text_beside_tools(engine: LlmEngine) -> None:
    """What is no call is told with its text."""
    params = {"temperature": 1.5, "seed": 0, "max_tokens": 30, "logprobs": 0}
    engine.admit(Work(1, {"messages": HELLO, "tools": [NOW]}, params))
    events = drain(engine)
    end = ends(events)[1]
    assert isinstance(end, Result)
    chunks = [event.data for event in events if isinstance(event, Chunk)]

    told = [each for chunk in chunks for each in chunk.get("logprobs", ())]
    assert told == end.outputs["logprobs"]
    assert "".join(str(chunk["text"]) for chunk in chunks) == end.outputs["text"] != ""


@pytest.mark.parametrize(
    ("inputs", "params", "says"),
    [
        ({"tool_choice": "required"}, {}, "there are no 'tools'"),
        ({"tools": [WEATHER], "tool_choice": "requird"}, {}, "Did you mean 'required'"),
        ({"tools": [WEATHER, WEATHER]}, {}, "Two of the 'tools'"),
        ({"tools": [{"type": "web_search"}]}, {}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, {}, "tools[0].function"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": "yes"}}]},
            {},
            "tools[0].function.strict must be true or false",
        ),
        (
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": {"type": "no"}, "strict": True},
                    }
                ]
            },
            {},
            "The parameters of the tool 'f' at /type",
        ),
        (
            {"tools": [NOW], "tool_choice": {"type": "function", "function": {"name": "non"}}},
            {},
            "Did you mean 'now'",
        ),
        ({"tools": [NOW]}, {"structured_outputs": {"json_object": True}}, "send one of both"),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "parameters": {"type": "no"}}}
                ],
                "tool_choice": "required",
            },
            {},
            "The parameters of the tool 'f' at /type",
        ),
        (
            {"messages": [{"role": "user", "content": "a", "tool_calls": []}], "tools": [NOW]},
            {},
            "unknown key 'tool_calls'",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"function": {"name": "f", "arguments": "{"}}],
                    }
                ]
            },
            {},
            "messages[0].tool_calls[0].function.arguments is no JSON",
        ),
    ],
)
def test_refuses_before_any_work(
    tmp_path: Path, inputs: dict[str, object], params: dict[str, object], says: str
) -> None:
    """What is wrong with tools, choice or calls is told with its place."""
    engine = open_tiny(_save(tmp_path, "hermes", special=False))
    with pytest.raises(InvalidInput) as caught:
        engine.admit(Work(1, {"messages": HELLO, **inputs}, params))

    assert says in caught.value.message
    assert engine.is_idle


def test_refuses_tools_that_the_template_does_not_know(llama: Path) -> None:
    """A model that would never hear of its tools is not asked to call them."""
    engine = open_tiny(llama)
    with pytest.raises(InvalidInput, match="chat template knows no tools"):
        engine.admit(Work(1, {"messages": HELLO, "tools": [NOW]}, {}))
    with pytest.raises(InvalidInput, match="go with 'messages'"):
        open_tiny(llama, chat_template=TEMPLATES["hermes"]).admit(
            Work(1, {"prompt": "a", "tools": [NOW]}, {})
        )
