"""Completions that begin with their prompts."""

from __future__ import annotations

import json

import httpx
import pytest
from api_fakes.documents import WRITER, Register

from torchloom_api.openai.echo import place
from torchloom_api.openai.token_logprob import ToldToken


TEXT = "/v1/completions"

Body = dict[str, object]


def _ask(**more: object) -> Body:
    return {"model": "writer", "prompt": "one two", "echo": True, **more}


async def _stream(client: httpx.AsyncClient, **more: object) -> list[Body]:
    text = (await client.post(TEXT, json=_ask(stream=True, **more))).text
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line)["choices"][0] for line in lines[:-1]]


async def test_puts_the_prompt_first(client: httpx.AsyncClient, register: Register) -> None:
    """Before each choice of each prompt, whole and streamed; usage is as without."""
    await register(WRITER)
    asked = {"prompt": ["one two", "three"], "n": 2}
    whole = (await client.post(TEXT, json=_ask(**asked))).json()
    plain = (await client.post(TEXT, json=_ask(**asked, echo=False))).json()
    chunks = await _stream(client, **asked)
    texts = ["one twoone two ", "one twoone two ", "threethree ", "threethree "]

    assert [choice["text"] for choice in whole["choices"]] == texts
    assert whole["usage"] == plain["usage"]
    for index, text in enumerate(texts):
        assert "".join(c["text"] for c in chunks if c["index"] == index) == text


@pytest.mark.parametrize("max_tokens", [0, 1])
async def test_tells_the_tokens_of_the_prompt(
    client: httpx.AsyncClient, register: Register, max_tokens: int
) -> None:
    """Prompt and answer are one list, placed in one text; with `max_tokens: 0` the prompt alone."""
    await register(WRITER)
    asked = {"logprobs": 1, "max_tokens": max_tokens}
    choice = (await client.post(TEXT, json=_ask(**asked))).json()["choices"][0]
    told = choice["logprobs"]
    chunks = await _stream(client, **asked)

    assert choice["text"] == "one two" + "one " * max_tokens
    assert choice["finish_reason"] == "length"
    assert told["tokens"] == [" one", " two", "one "][: 2 + max_tokens]
    assert told["token_logprobs"] == [None, -2.0, -1.0][: 2 + max_tokens]
    assert told["top_logprobs"][:2] == [None, {" two0": 0.0, " two": -2.0}]
    assert told["text_offset"] == [0, 3, 7][: 2 + max_tokens]
    for column, values in told.items():
        parts = [chunk["logprobs"][column] for chunk in chunks if chunk["logprobs"]]
        assert [value for part in parts for value in part] == values


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_echoes_nothing_that_is_refused(
    client: httpx.AsyncClient, register: Register, *, is_streamed: bool
) -> None:
    """What fails before the answer begins has its own status, prompt or not."""
    await register(WRITER)
    body = _ask(prompt="refuse", stream=is_streamed)

    assert (await client.post(TEXT, json=body)).status_code == 400


async def test_writes_nothing_without_an_echo(
    client: httpx.AsyncClient, register: Register
) -> None:
    """`max_tokens: 0` is an answer without text."""
    await register(WRITER)
    body = _ask(echo=False, max_tokens=0)
    choice = (await client.post(TEXT, json=body)).json()["choices"][0]

    assert (choice["text"], choice["finish_reason"]) == ("", "length")


def _told(*tokens: bytes) -> list[ToldToken]:
    return [ToldToken(token="", bytes=token, logprob=-1.0) for token in tokens]


@pytest.mark.parametrize(
    ("prompt", "tokens", "offsets"),
    [
        ("a b", [b"a", b" b"], [0, 1]),
        # A token for the beginning is not in the text; a space before it neither.
        ("a b", [b"<s>", b" a", b" b"], [0, 0, 1]),
        # Halves of a character begin with it.
        ("éa東b", [b"\xc3", b"\xa9", b"a", "東".encode(), b"b"], [0, 0, 1, 2, 3]),
        # What a tokenizer leaves out is passed over; what it makes up stands still.
        ("a\r\nb", [b"a", b"\n", b"b"], [0, 2, 3]),
        ("ab", [b"a", b"xyz", b"b"], [0, 1, 1]),
    ],
)
def test_finds_the_place_of_each_token(
    prompt: str, tokens: list[bytes], offsets: list[int]
) -> None:
    """In characters of the prompt."""
    assert [each.offset for each in place(prompt, _told(*tokens))] == offsets
