"""Chat completions and completions, over an engine that says back what it is asked."""

from __future__ import annotations

import json

import httpx
import pytest
from api_fakes.conversation import Conversation
from api_fakes.documents import EMBEDDER, ENDLESS_WRITER, WRITER, Register
from api_fakes.engines import Endless
from api_fakes.turns import turns

from torchloom_api.edge import Edge
from torchloom_api.service import Service


CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"

Body = dict[str, object]


def chat(content: object = "one two three", **more: object) -> Body:
    """Make the body of a chat completion."""
    return {"model": "writer", "messages": [{"role": "user", "content": content}], **more}


def read_chunks(text: str) -> list[Body]:
    """Read a stream of chunks that ends as it should."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_answers_a_conversation(client: httpx.AsyncClient, register: Register) -> None:
    """The answer has OpenAI's form, with usage."""
    await register(WRITER)
    response = await client.post(CHAT, json=chat())
    answer = response.json()

    assert response.status_code == 200
    assert answer.pop("id").startswith("chatcmpl-")
    assert answer.pop("created") > 1_700_000_000
    assert answer == {
        "object": "chat.completion",
        "model": "writer",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "one two three ", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 3,
            "total_tokens": 6,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


async def test_streams_a_conversation(client: httpx.AsyncClient, register: Register) -> None:
    """First the role, then the text, then the reason, then the usage where it is asked for."""
    await register(WRITER)
    options = {"include_usage": True}
    response = await client.post(CHAT, json=chat(stream=True, stream_options=options))
    chunks = read_chunks(response.text)

    assert response.headers["content-type"].startswith("text/event-stream")
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "one "},
        {"content": "two "},
        {"content": "three "},
        {},
    ]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
    assert reasons == [None] * 4 + ["stop"]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 5
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 6
    assert {(chunk["id"], chunk["object"]) for chunk in chunks} == {
        (chunks[0]["id"], "chat.completion.chunk")
    }


async def test_streams_without_usage(client: httpx.AsyncClient, register: Register) -> None:
    """Where nobody asks for it the key is not there."""
    await register(WRITER)
    chunks = read_chunks((await client.post(CHAT, json=chat("a", stream=True))).text)

    assert not any("usage" in chunk for chunk in chunks)


async def test_hands_parameters_on(client: httpx.AsyncClient, register: Register) -> None:
    """What the model knows reaches it under its name, and null asks for nothing."""
    await register(WRITER)
    given = {
        "frequency_penalty": 0.25,
        "ignore_eos": True,
        "logit_bias": {"7": -1},
        "min_p": 0.1,
        "min_tokens": 2,
        "presence_penalty": -0.5,
        "repetition_penalty": 1.5,
        "stop": ["x"],
        "temperature": 1,
        "top_k": 5,
        "top_p": 0.5,
    }
    body = chat("params", max_completion_tokens=90, seed=-1, n=None, tools=None, **given)
    said = (await client.post(CHAT, json=body)).json()["choices"][0]["message"]["content"]

    assert json.loads(said) == {**given, "max_tokens": 90, "seed": 2**63 - 1}


@pytest.mark.parametrize(
    ("given", "form"),
    [
        ({"response_format": {"type": "json_object"}}, {"json_object": True}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "strict": True, "schema": {"type": "integer"}},
                }
            },
            {"json": {"type": "integer"}},
        ),
        (
            {"response_format": {"type": "text"}, "structured_outputs": {"choice": ["a", "b"]}},
            {"choice": ["a", "b"]},
        ),
    ],
)
async def test_asks_for_a_form(
    client: httpx.AsyncClient, register: Register, given: Body, form: Body
) -> None:
    """OpenAI's field and vLLM's come to one parameter, in chats and in completions."""
    await register(WRITER)
    chatted = (await client.post(CHAT, json=chat("params", **given))).json()
    body = {"model": "writer", "prompt": "params", **given}
    completed = (await client.post(TEXT, json=body)).json()

    said = json.loads(chatted["choices"][0]["message"]["content"])
    assert said["structured_outputs"] == form
    assert json.loads(completed["choices"][0]["text"])["structured_outputs"] == form


async def test_tells_calls(client: httpx.AsyncClient, register: Register) -> None:
    """Calls are part of the message; streamed, their names come before their arguments."""
    await register(WRITER)
    tools = {"tools": [{"type": "function", "function": {"name": "f"}}]}
    (whole,) = (await client.post(CHAT, json=chat("call", **tools))).json()["choices"]
    chunks = read_chunks((await client.post(CHAT, json=chat("call", stream=True, **tools))).text)
    function = {"name": "f", "arguments": '{"a": 1}'}

    assert whole["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    assert whole["finish_reason"] == "tool_calls"
    begun = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"tool_calls": [{"index": 0, **begun}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1}'}}]},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_gives_choices_with_seeds_of_their_own(
    client: httpx.AsyncClient, register: Register
) -> None:
    """Each choice is a task; the prompt counts once."""
    await register(WRITER)
    answer = (await client.post(CHAT, json=chat("params", n=3, seed=5))).json()
    said = [json.loads(choice["message"]["content"]) for choice in answer["choices"]]

    assert said == [{"seed": 5}, {"seed": 6}, {"seed": 7}]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["prompt_tokens"] == 1
    assert answer["usage"]["completion_tokens"] == 6


async def test_streams_choices_side_by_side(client: httpx.AsyncClient, register: Register) -> None:
    """Each choice has its role, its text and its end, told by its index."""
    await register(WRITER)
    chunks = read_chunks((await client.post(CHAT, json=chat("a b", n=2, stream=True))).text)
    choices = [chunk["choices"][0] for chunk in chunks]

    for index in range(2):
        own = [choice for choice in choices if choice["index"] == index]
        assert own[0]["delta"]["role"] == "assistant"
        assert "".join(choice["delta"].get("content", "") for choice in own) == "a b "
        assert own[-1]["finish_reason"] == "stop"


async def test_joins_texts_of_a_message(client: httpx.AsyncClient, register: Register) -> None:
    """A list of texts is one text."""
    await register(WRITER)
    parts = [{"type": "text", "text": "o"}, {"type": "text", "text": "ne"}]
    answer = (await client.post(CHAT, json=chat(parts))).json()

    assert answer["choices"][0]["message"]["content"] == "one "


async def test_completes_texts(client: httpx.AsyncClient, register: Register) -> None:
    """Every prompt gets its choices in a row; 16 tokens unless somebody says otherwise."""
    await register(WRITER)
    body = {"model": "writer", "prompt": ["a b", "c " * 20], "n": 2, "echo": False, "best_of": 1}
    answer = (await client.post(TEXT, json=body)).json()
    choices = [(c["index"], c["text"], c["finish_reason"]) for c in answer["choices"]]

    assert answer["object"] == "text_completion"
    assert choices[:2] == [(0, "a b ", "stop"), (1, "a b ", "stop")]
    assert choices[2:] == [(2, "c " * 16, "length"), (3, "c " * 16, "length")]
    assert answer["usage"]["prompt_tokens"] == 22
    assert answer["usage"]["completion_tokens"] == 36


async def test_keeps_the_limit_of_the_model_file(
    client: httpx.AsyncClient, register: Register
) -> None:
    """`params:` of the model file goes before OpenAI's 16 tokens."""
    await register(WRITER + "params: {max_tokens: 18}")
    body = {"model": "writer", "prompt": "c " * 20}

    assert (await client.post(TEXT, json=body)).json()["usage"]["completion_tokens"] == 18


async def test_streams_a_completion(client: httpx.AsyncClient, register: Register) -> None:
    """Text as it comes, then the reason."""
    await register(WRITER)
    body = {"model": "writer", "prompt": "a b", "stream": True}
    chunks = read_chunks((await client.post(TEXT, json=body)).text)
    choices = [chunk["choices"][0] for chunk in chunks]

    assert [c["text"] for c in choices] == ["a ", "b ", ""]
    assert [c["finish_reason"] for c in choices] == [None, None, "stop"]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, "model", "invalid_value"),
        ({"model": 3}, "model", "invalid_value"),
        ({"model": "vectors"}, "model", "unsupported_model"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "hello"}, "messages", "invalid_value"),
        ({"messages": ["hello"]}, "messages[0]", "invalid_value"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        (
            {"messages": [{"role": "user", "content": None}]},
            "messages[0].content",
            "missing_required_parameter",
        ),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "assistant", "content": "x", "refusal": "no"}]},
            "messages[0].refusal",
            "unsupported_parameter",
        ),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"temperature": -1}, "temperature", None),
        ({"temperature": True}, "temperature", "invalid_value"),
        ({"top_p": 2}, "top_p", None),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 1_000_000}, "n", "invalid_value"),
        ({"n": 1.5}, "n", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 10**30}, "max_tokens", "invalid_value"),
        ({"min_tokens": 2**63}, "min_tokens", "invalid_value"),
        ({"top_k": -1}, "top_k", "invalid_value"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens", "invalid_value"),
        ({"stop": [1]}, "stop[0]", "invalid_value"),
        ({"stop": ""}, "stop", None),
        ({"logit_bias": {"cat": 1}}, "logit_bias", None),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"tools": {}}, "tools", "invalid_value"),
        ({"tools": [3]}, "tools[0]", "invalid_value"),
        ({"tool_choice": 3}, "tool_choice", "invalid_value"),
        ({"functions": []}, "functions", "unsupported_parameter"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "missing_required_parameter",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
            "missing_required_parameter",
        ),
        (
            {
                "response_format": {"type": "json_object"},
                "structured_outputs": {"regex": "a"},
            },
            "structured_outputs",
            "invalid_value",
        ),
        ({"logprobs": 0}, "logprobs", "invalid_value"),
        ({"top_logprobs": 1}, "top_logprobs", "invalid_value"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "invalid_value"),
        ({"store": True}, "store", "unsupported_parameter"),
    ],
)
async def test_refuses_a_bad_request(
    client: httpx.AsyncClient,
    register: Register,
    change: Body,
    param: str,
    code: str | None,
) -> None:
    """400 in OpenAI's shape, that names the field."""
    await register(WRITER, EMBEDDER)
    response = await client.post(CHAT, json={**chat(), **change})
    error = response.json()["error"]

    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert param.split("[", maxsplit=1)[0] in error["message"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"prompt": [None]}, "prompt"),
        ({"prompt": ["a"] * 200, "n": 2}, "prompt"),
        ({"echo": 1}, "echo"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": -1}, "logprobs"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"best_of": 2}, "best_of"),
        ({"best_of": 3, "n": 2}, "best_of"),
        ({"suffix": "x"}, "suffix"),
    ],
)
async def test_refuses_a_bad_completion(
    client: httpx.AsyncClient, register: Register, change: Body, param: str
) -> None:
    """Prompts that are no text, and what is not served, are refused by name."""
    await register(WRITER)
    response = await client.post(TEXT, json={"model": "writer", "prompt": "a", **change})

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_refuses_what_asks_for_nothing_readable(client: httpx.AsyncClient) -> None:
    """No JSON, no object, no model, a form: each says so."""
    broken = await client.post(CHAT, content=b"{")
    listed = await client.post(CHAT, json=[])
    empty = await client.post(CHAT, json={})
    form = await client.post(CHAT, files={"model": b"x"})

    assert [broken.status_code, listed.status_code, empty.status_code] == [400, 400, 400]
    assert empty.json()["error"]["param"] in ("model", "messages")
    assert form.status_code == 415
    assert form.json()["error"]["type"] == "invalid_request_error"


async def test_does_not_know_a_model(client: httpx.AsyncClient, register: Register) -> None:
    """404 with OpenAI's code, and the nearest name."""
    await register(WRITER)
    response = await client.post(CHAT, json={**chat(), "model": "writr"})
    error = response.json()["error"]

    assert response.status_code == 404
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert "Did you mean 'writer'?" in error["message"]


async def test_ignores_unknown_fields(client: httpx.AsyncClient, register: Register) -> None:
    """As the reference does; and fields that ask for nothing are no fault."""
    await register(WRITER)
    neutral = {"response_format": {"type": "text"}, "store": False, "user": "me", "logprobs": False}
    neutral |= {"metadata": {"a": "b"}, "prediction": {"type": "content", "content": "x"}}
    response = await client.post(CHAT, json=chat(colour="blue", **neutral))

    assert response.status_code == 200


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_answers_what_the_model_refuses(
    client: httpx.AsyncClient, register: Register, *, is_streamed: bool
) -> None:
    """A prompt that is too long is a 400, and a model that fails a 500, also with `stream`."""
    await register(WRITER)
    refused = await client.post(CHAT, json=chat("refuse", stream=is_streamed))
    failed = await client.post(CHAT, json=chat("fail", stream=is_streamed, n=2))

    assert refused.status_code == 400
    assert "this model holds 8" in refused.json()["error"]["message"]
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert failed.status_code == 500
    assert failed.json()["error"]["type"] == "server_error"
    assert failed.json()["error"]["code"] == "task_failed"


async def test_tells_a_failure_in_a_stream(client: httpx.AsyncClient, register: Register) -> None:
    """What fails later is the last event, and no `[DONE]` follows."""
    await register(WRITER)
    text = (await client.post(CHAT, json=chat("break now", stream=True))).text
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]

    assert json.loads(events[1])["choices"][0]["delta"] == {"content": "break "}
    assert json.loads(events[-1])["error"]["message"] == "The model broke."


async def test_refuses_what_finds_no_place_in_the_queue(
    client: httpx.AsyncClient, register: Register
) -> None:
    """503 with Retry-After, and the choices that had found one are cancelled."""
    await register(ENDLESS_WRITER + "queue: 1")
    body = {**chat(n=128), "model": "endless"}
    response = await client.post(CHAT, json=body)

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["error"]["code"] == "queue_full"


async def test_says_when_to_come_back(client: httpx.AsyncClient, service: Service) -> None:
    """503 with Retry-After while the server is starting."""
    service.is_started = False
    response = await client.post(CHAT, json=chat())

    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"]["code"] == "not_serving"


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_cancels_every_task_of_a_client_that_leaves(
    edge: Edge, register: Register, *, is_streamed: bool
) -> None:
    """Leaving cancels each choice, down to the engine."""
    await register(ENDLESS_WRITER)
    body = json.dumps({**chat(n=2, stream=is_streamed), "model": "endless"}).encode()
    conversation = Conversation(edge, "POST", CHAT, body=body)
    await turns(lambda: len(Endless.held) == 2)
    if is_streamed:
        await conversation.until(b'"index":1,"delta":{"content":"tick "}')
    conversation.leave()
    await conversation.end()
    await turns(lambda: not Endless.held)

    assert not conversation.is_complete
