"""Forms and tools by the official client, against a real server with a real language model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, OpenAI, pydantic_function_tool
from pydantic import BaseModel, Field
from tokenizers import Tokenizer


pytestmark = pytest.mark.slow

TOKENIZER = Tokenizer.from_file(
    str(Path(__file__).parents[3] / "examples/tiny_models/tiny_llama/tokenizer.json")
)

MESSAGES = [{"role": "user", "content": "How much does a mooring cost?"}]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "maxLength": 10}, "days": {"enum": [1, 7]}},
            "required": ["place", "days"],
            "additionalProperties": False,
        },
    },
}

NOW = {"type": "function", "function": {"name": "now"}}


class Berth(BaseModel):
    """What the model is to give, nested and with a choice."""

    number: int = Field(ge=0, le=99)
    kind: Literal["sail", "motor"]
    owner: Owner | None


class Owner(BaseModel):
    """Whose it is."""

    name: str = Field(max_length=8)


Berth.model_rebuild()


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    """Give a client that tries nothing twice."""
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


def test_parses_into_models(client: OpenAI) -> None:
    """`parse` gives an object, whole and streamed, by chats and by responses."""
    asked = {"model": "tiny", "temperature": 2.0, "seed": 3}
    whole = client.chat.completions.parse(messages=MESSAGES, response_format=Berth, **asked)
    with client.chat.completions.stream(
        messages=MESSAGES, response_format=Berth, **asked
    ) as stream:
        kinds = {event.type for event in stream}
        streamed = stream.get_final_completion()
    response = client.responses.parse(
        model="tiny", input=MESSAGES, text_format=Berth, extra_body={"seed": 3}, temperature=2.0
    )

    parsed = whole.choices[0].message.parsed
    assert isinstance(parsed, Berth)
    assert whole.choices[0].finish_reason == "stop"
    assert parsed == streamed.choices[0].message.parsed == response.output_parsed
    assert "content.delta" in kinds


async def test_parses_by_the_async_client(url: str) -> None:
    """The same without waiting."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        whole = await client.chat.completions.parse(
            model="tiny", messages=MESSAGES, response_format=Berth
        )
        async with client.chat.completions.stream(
            model="tiny", messages=MESSAGES, response_format=Berth
        ) as stream:
            streamed = await stream.get_final_completion()

    assert isinstance(whole.choices[0].message.parsed, Berth)
    assert whole.choices[0].message.parsed == streamed.choices[0].message.parsed


def test_keeps_to_other_forms(client: OpenAI, url: str) -> None:
    """JSON of any kind, an expression and choices; each choice of `n` by itself; natively too."""
    chat = client.chat.completions.create(
        model="tiny",
        messages=MESSAGES,
        n=3,
        temperature=3.0,
        seed=1,
        extra_body={"structured_outputs": {"regex": "[A-F][0-9]{2}"}},
    )
    text = client.completions.create(
        model="tiny", prompt="It is", extra_body={"structured_outputs": {"choice": ["yes", "no"]}}
    )
    thing = client.chat.completions.create(
        model="tiny", messages=MESSAGES, response_format={"type": "json_object"}, max_tokens=200
    )
    body = {"inputs": {"prompt": "a"}, "params": {"structured_outputs": {"choice": ["seven"]}}}
    native = httpx.post(f"{url}/api/models/tiny/predict", json=body, timeout=120).json()

    said = [str(choice.message.content) for choice in chat.choices]
    assert all(re.fullmatch("[A-F][0-9]{2}", each) for each in said)
    assert len(set(said)) > 1
    assert text.choices[0].text in ("yes", "no")
    assert str(thing.choices[0].message.content).startswith("{")
    if thing.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(str(thing.choices[0].message.content)), dict)
    assert native["outputs"]["text"] == "seven"


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "objct"}, "The JSON Schema at /type is not valid"),
        ({"properties": {"a": {"not": {}}}}, '"not" is not served, which stands at /properties/a'),
        ({"items": {"$ref": "http://127.0.0.1/x"}}, "nothing is fetched"),
    ],
)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_refuses_schemas(
    client: OpenAI, schema: dict[str, object], says: str, *, is_streamed: bool
) -> None:
    """A schema that cannot be kept to is a 400 that says where, also for a stream."""
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(
            model="tiny",
            messages=MESSAGES,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            stream=is_streamed,
        )

    assert says in refused.value.message


def test_calls_tools(client: OpenAI) -> None:
    """What must be called is called with arguments that fit; a stream gathers to the same form."""
    asked = {"model": "caller", "temperature": 2.0, "tools": [WEATHER, NOW], "max_tokens": 100}
    whole = client.chat.completions.create(
        messages=MESSAGES, tool_choice="required", parallel_tool_calls=False, seed=1, **asked
    )
    named = {"type": "function", "function": {"name": "get_weather"}}
    chunks = list(
        client.chat.completions.create(
            messages=MESSAGES, tool_choice=named, stream=True, seed=2, **asked
        )
    )
    (call,) = whole.choices[0].message.tool_calls
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    calls = [each for delta in deltas for each in delta.tool_calls or []]
    arguments = json.loads("".join(each.function.arguments or "" for each in calls))

    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.choices[0].message.content is None
    assert call.function.name in ("get_weather", "now")
    assert isinstance(json.loads(call.function.arguments), dict)
    assert calls[0].function.name == "get_weather"
    assert calls[0].id
    assert {each.index for each in calls} == {0}
    assert set(arguments) == {"place", "days"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_calls_one_tool_at_a_time(client: OpenAI) -> None:
    """`parallel_tool_calls: false`: one call where there would be several, whole and streamed."""
    # Calls stand on lines of their own: whoever likes new lines goes on with another.
    liking = {str(TOKENIZER.token_to_id("\u010a")): 100}
    asked = {"model": "caller", "messages": MESSAGES, "tools": [NOW], "tool_choice": "required"}
    asked |= {"logit_bias": liking, "max_tokens": 300, "temperature": 0}
    several = client.chat.completions.create(**asked)
    one = client.chat.completions.create(**asked, parallel_tool_calls=False)
    chunks = client.chat.completions.create(**asked, parallel_tool_calls=False, stream=True)
    calls = [each for c in chunks if c.choices for each in c.choices[0].delta.tool_calls or []]

    assert len(several.choices[0].message.tool_calls) > 1
    assert len(one.choices[0].message.tool_calls) == 1
    assert one.choices[0].finish_reason == "tool_calls"
    assert {each.index for each in calls} == {0}


def test_calls_allowed_tools_alone(client: OpenAI) -> None:
    """`allowed_tools` in chats and responses: of two tools, the one that is allowed is called."""
    asked = {"model": "caller", "temperature": 2.0, "seed": 3}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "now"}}]}
    chat = client.chat.completions.create(
        messages=MESSAGES,
        tools=[WEATHER, NOW],
        tool_choice={"type": "allowed_tools", "allowed_tools": allowed},
        max_tokens=100,
        parallel_tool_calls=False,
        **asked,
    )
    response = client.responses.create(
        model="caller",
        input=MESSAGES,
        tools=[{"type": "function", **each["function"]} for each in (WEATHER, NOW)],
        tool_choice={
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "now"}],
        },
        max_output_tokens=100,
        parallel_tool_calls=False,
    )

    assert [each.function.name for each in chat.choices[0].message.tool_calls] == ["now"]
    assert [each.name for each in response.output] == ["now"]


@pytest.mark.parametrize("choice", [None, "auto"])
def test_keeps_to_strict_tools(client: OpenAI, choice: str | None) -> None:
    """The client's own form of a tool is strict: if it is called, then with what fits."""
    tools = [pydantic_function_tool(Berth)]
    # It would write braces alone, which begin a call and end none.
    liking = {str(TOKENIZER.token_to_id("{")): 100}
    asked = {"model": "bare", "messages": MESSAGES, "logit_bias": liking, "max_tokens": 150}
    asked |= {} if choice is None else {"tool_choice": choice}
    called = client.chat.completions.parse(tools=tools, **asked)
    with client.chat.completions.stream(tools=tools, **asked) as stream:
        streamed = stream.get_final_completion()
    function = tools[0]["function"]
    free = [{"type": "function", "function": {**function, "strict": False}}]
    said = client.chat.completions.create(tools=free, **asked)
    flat = [{"type": "function", **function}]
    response = client.responses.create(
        model="bare",
        input=MESSAGES,
        tools=flat,
        max_output_tokens=150,
        extra_body={"logit_bias": liking},
    )

    for answer in (called, streamed):
        (call,) = answer.choices[0].message.tool_calls
        assert isinstance(call.function.parsed_arguments, Berth)
        assert answer.choices[0].finish_reason == "tool_calls"
    assert said.choices[0].message.tool_calls is None
    assert said.choices[0].message.content.startswith("{{{")
    (item,) = response.output
    assert Berth.model_validate_json(item.arguments)


def test_tells_the_tokens_of_a_call(client: OpenAI) -> None:
    """Log probabilities together with tools: each token of the call, whole and streamed."""
    asked = {"model": "caller", "messages": MESSAGES, "tools": [NOW], "tool_choice": "required"}
    asked |= {"parallel_tool_calls": False, "logprobs": True, "top_logprobs": 2, "max_tokens": 100}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True))
    content = whole.choices[0].logprobs.content
    parts = [chunk.choices[0] for chunk in chunks if chunk.choices]
    streamed = [each for part in parts if part.logprobs for each in part.logprobs.content]

    assert whole.choices[0].message.tool_calls[0].function.name == "now"
    assert '"name": "now"' in b"".join(bytes(each.bytes) for each in content).decode()
    assert len(content) == whole.usage.completion_tokens
    assert [each.token for each in streamed] == [each.token for each in content]


def test_goes_on_after_a_call(client: OpenAI) -> None:
    """A message that called goes back in as it came, with what the tool said."""
    first = client.chat.completions.create(
        model="caller", messages=MESSAGES, tools=[NOW], tool_choice="required", max_tokens=100
    )
    message = first.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "noon"}
    second = client.chat.completions.create(
        model="caller", messages=[*MESSAGES, message, result], tools=[NOW], max_tokens=8
    )

    assert second.choices[0].message.content
    assert second.choices[0].message.tool_calls is None


def test_refuses_tools_by_what_is_wrong(client: OpenAI) -> None:
    """An unknown choice, and arguments whose schema cannot be kept to."""
    bad = {"type": "function", "function": {"name": "f", "parameters": {"not": {}}}}
    for tools, choice, says in (
        ([NOW], {"type": "function", "function": {"name": "nw"}}, "Did you mean 'now'"),
        ([bad], "required", "cannot be kept to"),
        ([{**bad, "function": {**bad["function"], "strict": True}}], "auto", "cannot be kept to"),
        ([], "required", "there are no 'tools'"),
    ):
        with pytest.raises(BadRequestError) as refused:
            client.chat.completions.create(
                model="caller", messages=MESSAGES, tools=tools, tool_choice=choice
            )
        assert says in refused.value.message


def test_responds_with_calls(client: OpenAI) -> None:
    """A call is an item, whole and streamed; it goes back in with what came of it."""
    tools = [{"type": "function", "strict": True, **WEATHER["function"]}]
    choice = {"type": "function", "name": "get_weather"}
    asked = {"model": "caller", "tools": tools, "max_output_tokens": 100, "temperature": 0}
    items = [{"role": "user", "content": "How much does a mooring cost?"}]
    whole = client.responses.create(input=items, tool_choice=choice, **asked)
    with client.responses.stream(input=items, tool_choice=choice, **asked) as stream:
        kinds = [event.type for event in stream]
        gathered = stream.get_final_response()
    (call,) = whole.output
    (streamed,) = gathered.output
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "fine"}
    second = client.responses.create(
        input=[*items, call, result], **{**asked, "max_output_tokens": 8}
    )

    assert (call.type, call.name, call.status) == ("function_call", "get_weather", "completed")
    assert set(json.loads(call.arguments)) == {"place", "days"}
    assert streamed.arguments == call.arguments
    assert streamed.name == "get_weather"
    assert "response.function_call_arguments.delta" in kinds
    assert kinds[-2:] == ["response.output_item.done", "response.completed"]
    assert whole.tools[0].name == "get_weather"
    assert second.output_text
