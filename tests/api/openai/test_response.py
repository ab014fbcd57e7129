"""Responses, over an engine that says back what it is asked, and over a workflow."""

from __future__ import annotations

import json

import httpx
import pytest
from api_fakes.conversation import Conversation
from api_fakes.documents import EMBEDDER, ENDLESS_WRITER, TALK, WRITER, Register
from api_fakes.engines import Endless
from api_fakes.turns import turns

from torchloom_api.edge import Edge


PATH = "/v1/responses"

Body = dict[str, object]


def ask(content: object = "one two ", **more: object) -> Body:
    """Make the body of a response."""
    return {"model": "writer", "input": content, **more}


def read_events(text: str) -> list[Body]:
    """Read a stream: each event is named as its data says, and they are numbered from 0."""
    events = []
    for number, block in enumerate(block for block in text.split("\n\n") if block):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event.pop("sequence_number") == number
        events.append(event)
    return events


async def test_answers(client: httpx.AsyncClient, register: Register) -> None:
    """The answer has OpenAI's form; what was asked for is told again."""
    await register(WRITER)
    given = {
        "instructions": "Be brief.",
        "max_output_tokens": 50,
        "metadata": {"case": "7"},
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "me",
    }
    answer = (await client.post(PATH, json=ask(**given))).json()

    assert answer.pop("id").startswith("resp_")
    assert answer["output"][0].pop("id").startswith("msg_")
    assert answer.pop("created_at") <= answer.pop("completed_at")
    text = {"type": "output_text", "text": "one two ", "annotations": [], "logprobs": []}
    assert answer == {
        **given,
        "object": "response",
        "model": "writer",
        "status": "completed",
        "output": [
            {"type": "message", "role": "assistant", "status": "completed", "content": [text]}
        ],
        "usage": {
            "input_tokens": 2,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 4,
        },
        "error": None,
        "incomplete_details": None,
        "top_logprobs": None,
        "background": False,
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "store": False,
        "text": {"format": {"type": "text"}},
        "tool_choice": "none",
        "tools": [],
        "truncation": "disabled",
    }


async def test_tells_that_it_was_cut_short(client: httpx.AsyncClient, register: Register) -> None:
    """An answer that ran into its limit is incomplete, and so is its message."""
    await register(WRITER)
    answer = (await client.post(PATH, json=ask(max_output_tokens=1))).json()
    streamed = await client.post(PATH, json=ask(max_output_tokens=1, stream=True))
    last = read_events(streamed.text)[-1]

    assert (answer["status"], answer["output"][0]["status"]) == ("incomplete", "incomplete")
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer["completed_at"] is None
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"][0]["content"] == answer["output"][0]["content"]


async def test_asks_for_a_form(client: httpx.AsyncClient, register: Register) -> None:
    """`text.format` is the model's parameter, and comes back as it was sent."""
    await register(WRITER)
    form = {"type": "json_schema", "name": "x", "schema": {"type": "integer"}, "strict": True}
    answer = (await client.post(PATH, json=ask("params", text={"format": form}))).json()
    said = json.loads(answer["output"][0]["content"][0]["text"])

    assert said["structured_outputs"] == {"json": {"type": "integer"}}
    assert answer["text"] == {"format": form}


async def test_streams(client: httpx.AsyncClient, register: Register) -> None:
    """Events in OpenAI's order: what is begun, its text, what is done, then the whole."""
    await register(WRITER)
    events = read_events((await client.post(PATH, json=ask(stream=True))).text)
    item = events[2]["item"]["id"]
    place = {"item_id": item, "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "one two ", "annotations": [], "logprobs": []}
    message = {
        "type": "message",
        "id": item,
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    begun, running, *others, last = events

    assert (begun["type"], running["type"]) == ("response.created", "response.in_progress")
    assert begun["response"] == running["response"]
    assert (begun["response"]["status"], begun["response"]["output"]) == ("in_progress", [])
    assert others == [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**message, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "one ", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": "two ", "logprobs": []},
        {"type": "response.output_text.done", **place, "text": "one two ", "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
    ]
    assert last["type"] == "response.completed"
    assert last["response"]["id"] == begun["response"]["id"]
    assert last["response"]["output"] == [message]
    assert last["response"]["usage"]["total_tokens"] == 4


async def test_hands_parameters_on(client: httpx.AsyncClient, register: Register) -> None:
    """What the model knows reaches it under its name."""
    await register(WRITER)
    given = {"temperature": 1, "top_p": 0.5, "top_k": 5, "stop": ["x"], "seed": 7}
    answer = (await client.post(PATH, json=ask("params", max_output_tokens=90, **given))).json()

    assert json.loads(answer["output"][0]["content"][0]["text"]) == {**given, "max_tokens": 90}


async def test_asks_a_workflow(client: httpx.AsyncClient, register: Register) -> None:
    """Its sources are annotations, whole and streamed, and its inputs take the parameters."""
    await register(TALK)
    body = ask(model="talk", max_output_tokens=1)
    answer = (await client.post(PATH, json=body)).json()
    events = read_events((await client.post(PATH, json={**body, "stream": True})).text)
    (part,) = answer["output"][0]["content"]
    (told,) = [event for event in events if event["type"].endswith("annotation.added")]

    assert part["text"] == "one "
    assert part["annotations"] == [
        {
            "type": "url_citation",
            "start_index": 0,
            "end_index": 4,
            "title": "Page",
            "url": "p1",
            "content": "A passage.",
            "score": 0.5,
        }
    ]
    assert (told["annotation_index"], told["annotation"]) == (0, part["annotations"][0])
    assert events[-1]["response"]["output"][0]["content"] == [part]
    assert answer["usage"]["total_tokens"] == 5


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"input": None}, "input", "invalid_value"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type", "unsupported_value"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
        ({"store": True}, "store", "unsupported_parameter"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"background": True}, "background", "unsupported_parameter"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
        ({"tools": [3]}, "tools[0]", "invalid_value"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice.type", "unsupported_value"),
        ({"input": [{"type": "function_call"}]}, "input[0].call_id", "missing_required_parameter"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c"}]},
            "input[0].output",
            "missing_required_parameter",
        ),
        (
            {
                "tools": [{"type": "function", "name": "f"}],
                "include": ["message.output_text.logprobs"],
            },
            "include",
            "unsupported_parameter",
        ),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x"}}},
            "text.format.schema",
            "missing_required_parameter",
        ),
        ({"text": {"verbosity": "low"}}, "text.verbosity", "unsupported_parameter"),
        ({"reasoning": {"effort": "high"}}, "reasoning", "unsupported_parameter"),
        ({"truncation": "auto"}, "truncation", "unsupported_parameter"),
        ({"include": ["reasoning.encrypted_content"]}, "include", "unsupported_parameter"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
        ({"temperature": -1}, "temperature", None),
        ({"stream_options": {}}, "stream_options", "invalid_value"),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
            "unsupported_parameter",
        ),
        ({"model": "vectors"}, "model", "unsupported_model"),
        ({"model": "talk", "max_output_tokens": 1, "seed": 1}, "seed", "unsupported_parameter"),
    ],
)
async def test_refuses_a_bad_request(
    client: httpx.AsyncClient, register: Register, change: Body, param: str, code: str | None
) -> None:
    """400 in OpenAI's shape, that names the field."""
    await register(EMBEDDER, TALK)
    response = await client.post(PATH, json={**ask(), **change})
    error = response.json()["error"]

    assert response.status_code == 400
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert param.split("[", maxsplit=1)[0] in error["message"]


async def test_says_what_to_do_where_nothing_is_stored(
    client: httpx.AsyncClient, register: Register
) -> None:
    """The refusal tells the way round; and no response can be fetched later."""
    await register(WRITER)
    refused = await client.post(PATH, json=ask(previous_response_id="resp_1"))
    fetched = await client.get(f"{PATH}/resp_1")

    assert "send the whole conversation as 'input'" in refused.json()["error"]["message"]
    assert fetched.status_code == 404
    assert fetched.json()["error"]["type"] == "invalid_request_error"


async def test_takes_what_asks_for_nothing(client: httpx.AsyncClient, register: Register) -> None:
    """Neutral values, unknown fields and hints are no fault."""
    await register(WRITER)
    neutral = {
        "background": False,
        "include": [],
        "parallel_tool_calls": True,
        "prompt_cache_key": "x",
        "store": False,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "truncation": "disabled",
        "colour": "blue",
    }
    assert (await client.post(PATH, json=ask(**neutral))).status_code == 200


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_answers_what_the_model_refuses(
    client: httpx.AsyncClient, register: Register, *, is_streamed: bool
) -> None:
    """What fails before the first text has its own status, also with `stream`."""
    await register(WRITER)
    refused = await client.post(PATH, json=ask("refuse", stream=is_streamed))
    failed = await client.post(PATH, json=ask("fail", stream=is_streamed))

    assert (refused.status_code, failed.status_code) == (400, 500)
    assert failed.json()["error"]["code"] == "task_failed"


async def test_tells_a_failure_in_a_stream(client: httpx.AsyncClient, register: Register) -> None:
    """What fails later is the last event: the response as far as it came, with the error."""
    await register(WRITER)
    events = read_events((await client.post(PATH, json=ask("break now", stream=True))).text)
    response = events[-1]["response"]

    assert events[-1]["type"] == "response.failed"
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": "The model broke."}
    assert response["output"][0]["status"] == "incomplete"
    assert response["output"][0]["content"][0]["text"] == "break "


async def test_cancels_the_task_of_a_client_that_leaves(edge: Edge, register: Register) -> None:
    """Leaving cancels, down to the engine."""
    await register(ENDLESS_WRITER)
    body = json.dumps(ask(model="endless", stream=True)).encode()
    conversation = Conversation(edge, "POST", PATH, body=body)
    await conversation.until(b'"delta":"tick "')
    conversation.leave()
    await conversation.end()
    await turns(lambda: not Endless.held)

    assert not conversation.is_complete
