"""Log probabilities in OpenAI's forms, over an engine that tells a token a word."""

from __future__ import annotations

import json

import httpx
import pytest
from api_fakes.documents import TALK, WRITER, Register

from torchloom_api.openai.token_logprob import CompletionLogprobs, ToldToken, read_told


CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
RESPONSE = "/v1/responses"

Body = dict[str, object]


def _chat(**more: object) -> Body:
    return {"model": "writer", "messages": [{"role": "user", "content": "one two"}], **more}


def _events(text: str) -> list[Body]:
    lines = [line for block in text.split("\n\n") for line in block.split("\n")]
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(line) for line in data if line != "[DONE]"]


def _top(token: str, logprob: float) -> Body:
    return {"token": token, "bytes": list(token.encode()), "logprob": logprob}


CONTENT = [
    {**_top("one ", -1.0), "top_logprobs": [_top("one 0", 0.0), _top("one 1", -1.0)]},
    {**_top("two ", -2.0), "top_logprobs": [_top("two 0", 0.0), _top("two 1", -1.0)]},
]


async def test_tells_the_tokens_of_a_chat(client: httpx.AsyncClient, register: Register) -> None:
    """Whole and streamed, each token once; without `top_logprobs` no others."""
    await register(WRITER)
    body = _chat(logprobs=True, top_logprobs=2)
    whole = (await client.post(CHAT, json=body)).json()["choices"][0]["logprobs"]
    chunks = _events((await client.post(CHAT, json={**body, "stream": True})).text)
    told = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    bare = (await client.post(CHAT, json=_chat(logprobs=True))).json()["choices"][0]["logprobs"]

    assert whole == {"content": CONTENT, "refusal": None}
    assert told == [None, *({"content": [each], "refusal": None} for each in CONTENT), None]
    assert [each["top_logprobs"] for each in bare["content"]] == [[], []]


async def test_tells_the_tokens_of_a_call(client: httpx.AsyncClient, register: Register) -> None:
    """With the pieces of the call that they are part of."""
    await register(WRITER)
    function = {"type": "function", "function": {"name": "f"}}
    body = {**_chat(logprobs=True, tools=[function])}
    body["messages"] = [{"role": "user", "content": "call"}]
    whole = (await client.post(CHAT, json=body)).json()["choices"][0]
    chunks = _events((await client.post(CHAT, json={**body, "stream": True})).text)
    told = [c["choices"][0] for c in chunks if c["choices"][0]["logprobs"]]

    assert whole["message"]["tool_calls"][0]["function"]["name"] == "f"
    assert [each["token"] for each in whole["logprobs"]["content"]] == ["<call>", "f"]
    assert [each["logprobs"] for each in told] == [whole["logprobs"]]
    assert told[0]["delta"]["tool_calls"][0]["function"]["name"] == "f"


async def test_tells_nothing_unasked(client: httpx.AsyncClient, register: Register) -> None:
    """A model file that asks for them by itself changes no answer of a client that does not."""
    await register(WRITER + "params: {logprobs: 1}")
    answer = (await client.post(CHAT, json=_chat())).json()
    text = (await client.post(TEXT, json={"model": "writer", "prompt": "a b"})).json()
    response = (await client.post(RESPONSE, json={"model": "writer", "input": "a b"})).json()

    assert answer["choices"][0]["logprobs"] is text["choices"][0]["logprobs"] is None
    assert response["output"][0]["content"][0]["logprobs"] == []


async def test_tells_the_tokens_of_completions(
    client: httpx.AsyncClient, register: Register
) -> None:
    """In columns, for every choice of every prompt; streamed, each token once."""
    await register(WRITER)
    body = {"model": "writer", "prompt": ["one two", "three"], "n": 2, "logprobs": 1}
    whole = (await client.post(TEXT, json=body)).json()["choices"]
    chunks = _events((await client.post(TEXT, json={**body, "stream": True})).text)

    assert [choice["logprobs"] for choice in whole[:2]] == 2 * [
        {
            "tokens": ["one ", "two "],
            "token_logprobs": [-1.0, -2.0],
            "top_logprobs": [{"one 0": 0.0, "one ": -1.0}, {"two 0": 0.0, "two ": -2.0}],
            "text_offset": [0, 4],
        }
    ]
    assert whole[3]["logprobs"]["tokens"] == ["three "]
    for index, choice in enumerate(whole):
        parts = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == index]
        for column, values in choice["logprobs"].items():
            told = [part["logprobs"][column] for part in parts if part["logprobs"]]
            assert [value for each in told for value in each] == values


async def test_tells_the_tokens_of_a_response(
    client: httpx.AsyncClient, register: Register
) -> None:
    """Where they are to be included; in the deltas, and in the text as it is in the end."""
    await register(WRITER)
    include = ["message.output_text.logprobs"]
    body = {"model": "writer", "input": "one two", "include": include, "top_logprobs": 2}
    whole = (await client.post(RESPONSE, json=body)).json()
    events = _events((await client.post(RESPONSE, json={**body, "stream": True})).text)
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    done = next(event for event in events if event["type"] == "response.output_text.done")

    assert whole["output"][0]["content"][0]["logprobs"] == CONTENT
    assert whole["top_logprobs"] == 2
    assert [each for delta in deltas for each in delta["logprobs"]] == CONTENT
    assert done["logprobs"] == CONTENT


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"include": ["file_search_call.results"]}, "include"),
        ({"include": "message.output_text.logprobs"}, "include"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"top_logprobs": 21, "include": ["message.output_text.logprobs"]}, "top_logprobs"),
    ],
)
async def test_refuses_a_bad_response(
    client: httpx.AsyncClient, register: Register, change: Body, param: str
) -> None:
    """By name."""
    await register(WRITER)
    response = await client.post(RESPONSE, json={"model": "writer", "input": "x", **change})

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_refuses_them_of_a_workflow(client: httpx.AsyncClient, register: Register) -> None:
    """Also of one with an input of that name: what it answers with has no tokens."""
    await register(TALK.replace("inputs:\n  question", "inputs:\n  logprobs: {}\n  question", 1))
    chat = await client.post(CHAT, json={**_chat(logprobs=True), "model": "talk"})
    body = {"model": "talk", "input": "x", "include": ["message.output_text.logprobs"]}
    response = await client.post(RESPONSE, json=body)

    assert (chat.status_code, response.status_code) == (400, 400)
    assert chat.json()["error"]["param"] == "logprobs"
    assert response.json()["error"]["param"] == "include"


def test_writes_bytes_that_are_no_text() -> None:
    """As OpenAI does, so that no two tokens share a key; the taken token is among the likeliest."""
    half = {"id": 1, "token": r"\xe6", "bytes": [0xE6], "logprob": -1.0}
    told = read_told([{**half, "offset": 3, "top_logprobs": [half]}])
    written = CompletionLogprobs.of(told)

    assert written.tokens == [r"bytes:\xe6"]
    assert written.top_logprobs == [{r"bytes:\xe6": -1.0}]
    assert written.text_offset == [3]


def test_knows_nothing_of_a_first_token() -> None:
    """There is no place before the first token of a prompt."""
    written = CompletionLogprobs.of([ToldToken(token="a", bytes=b"a", logprob=None)])

    assert (written.token_logprobs, written.top_logprobs) == ([None], [None])
