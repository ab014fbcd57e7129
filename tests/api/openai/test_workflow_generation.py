"""Workflows as models, over nodes that say back what they are asked."""

from __future__ import annotations

import json

import httpx
import pytest
from api_fakes.conversation import Conversation
from api_fakes.documents import TALK, Register
from api_fakes.engines import Endless
from api_fakes.turns import turns

from torchloom_api.edge import Edge
from torchloom_api.service import Service


CHAT = "/v1/chat/completions"

ENDLESS_TALK = """
name: chatter
inputs: {question: {type: string}}
nodes: {answer: {model: endless, inputs: {prompt: $inputs.question}}}
outputs: {answer: $answer.text}
stream: [answer]
chat: {question: $messages.content}
models: {endless: {kind: llm, factory: endless}}
"""

CITATION = {
    "start_index": 0,
    "end_index": 8,
    "title": "Page",
    "url": "p1",
    "content": "A passage.",
    "score": 0.5,
}

Body = dict[str, object]


def chat(content: str = "one two ", **more: object) -> Body:
    """Make the body of a chat completion by the workflow."""
    return {"model": "talk", "messages": [{"role": "user", "content": content}], **more}


def read_events(text: str) -> list[str]:
    """Read the data of each event."""
    return [line.removeprefix("data: ") for line in text.split("\n\n") if line]


async def test_answers_a_conversation(client: httpx.AsyncClient, register: Register) -> None:
    """The streamed node answers, the sources are cited, and each language model's tokens count."""
    await register(TALK)
    answer = (await client.post(CHAT, json=chat())).json()

    assert answer["model"] == "talk"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "one two ",
                "refusal": None,
                "annotations": [{"type": "url_citation", "url_citation": CITATION}],
            },
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    # The draft takes one token and gives one.
    assert answer["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 3,
        "total_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


async def test_streams_an_answer(client: httpx.AsyncClient, register: Register) -> None:
    """The node's tokens are the deltas; the last one cites; the usage follows."""
    await register(TALK)
    body = chat(stream=True, stream_options={"include_usage": True})
    *lines, done = read_events((await client.post(CHAT, json=body)).text)
    chunks = [json.loads(line) for line in lines]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]

    assert done == "[DONE]"
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"content": "one "},
        {"content": "two "},
        {"annotations": [{"type": "url_citation", "url_citation": CITATION}]},
    ]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] == 6


async def test_hands_fields_on_to_inputs(client: httpx.AsyncClient, register: Register) -> None:
    """Both names of the limit reach the input; any field may name one; other fields are ignored."""
    await register(TALK)
    short = [(await client.post(CHAT, json=chat(max_tokens=1))).json()]
    short += [(await client.post(CHAT, json=chat(max_completion_tokens=1))).json()]
    bare = (await client.post(CHAT, json=chat(passages=[], colour="blue", user="me"))).json()

    for answer in short:
        assert answer["choices"][0]["message"]["content"] == "one "
        assert answer["choices"][0]["finish_reason"] == "length"
    assert "annotations" not in bare["choices"][0]["message"]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"temperature": 1}, "temperature", "unsupported_parameter"),
        ({"seed": 1}, "seed", "unsupported_parameter"),
        ({"n": 2}, "n", "unsupported_value"),
        ({"tools": [{}]}, "tools", "unsupported_parameter"),
        ({"messages": [{"role": "user", "content": "x" * 31}]}, "messages", "invalid_value"),
        ({"passages": [], "max_tokens": -1}, "max_tokens", "invalid_value"),
        ({"model": "talk@7"}, "model", "model_not_found"),
        ({"model": "talkk"}, "model", "model_not_found"),
    ],
)
async def test_refuses_a_bad_request(
    client: httpx.AsyncClient,
    register: Register,
    change: Body,
    param: str,
    code: str,
) -> None:
    """An error in OpenAI's shape, that names the field as the client wrote it."""
    await register(TALK)
    response = await client.post(CHAT, json={**chat(), **change})
    error = response.json()["error"]

    assert response.status_code == (404 if code == "model_not_found" else 400)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_tells_which_node_failed(
    client: httpx.AsyncClient, register: Register, *, is_streamed: bool
) -> None:
    """What a node refuses is the caller's error, and what it fails for is the server's."""
    await register(TALK)
    refused = await client.post(CHAT, json=chat("refuse", stream=is_streamed))
    failed = await client.post(CHAT, json=chat("fail", stream=is_streamed))

    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("Node 'answer': ")
    assert refused.json()["error"]["param"] is None
    assert failed.status_code == 500
    assert failed.json()["error"]["code"] == "task_failed"


async def test_tells_a_failure_in_a_stream(client: httpx.AsyncClient, register: Register) -> None:
    """What fails later is the last event, and no `[DONE]` follows."""
    await register(TALK)
    events = read_events((await client.post(CHAT, json=chat("break now", stream=True))).text)

    assert json.loads(events[1])["choices"][0]["delta"] == {"content": "break "}
    assert json.loads(events[-1])["error"]["message"] == "Node 'answer': The model broke."


async def test_keeps_its_runs_in_the_history(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """A run is a run, whoever asked for it: it can be looked up, and has its deadline."""
    await register(TALK)
    await client.post(CHAT, json=chat(), headers={"X-Request-Timeout": "9"})
    (run,) = service.orchestrator.runs()

    assert (run.graph.name, run.state.value, run.options.timeout_s) == ("talk", "done", 9.0)


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_cancels_the_run_of_a_client_that_leaves(
    edge: Edge, register: Register, service: Service, *, is_streamed: bool
) -> None:
    """Leaving cancels it, down to the engine."""
    await register(ENDLESS_TALK)
    body = json.dumps({**chat(stream=is_streamed), "model": "chatter"}).encode()
    conversation = Conversation(edge, "POST", CHAT, body=body)
    await turns(lambda: Endless.held)
    if is_streamed:
        await conversation.until(b'"delta":{"content":"tick "}')
    conversation.leave()
    await conversation.end()
    await turns(lambda: not Endless.held)
    (run,) = service.orchestrator.runs()

    assert run.state.value == "cancelled"
    assert not conversation.is_complete
