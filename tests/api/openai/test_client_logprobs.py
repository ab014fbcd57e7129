"""Log probabilities and echoes by the official client, against a real model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import AsyncOpenAI, BadRequestError, OpenAI


pytestmark = pytest.mark.slow

QUESTION = "How much does a mooring cost?"

HELLO = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    """Give a client that tries nothing twice."""
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


def test_chats_with_logprobs(client: OpenAI) -> None:
    """The greedy token is the likeliest each time; streamed they are the same."""
    asked = {"model": "tiny", "messages": HELLO, "max_tokens": 8, "temperature": 0}
    asked |= {"logprobs": True, "top_logprobs": 3}
    whole = client.chat.completions.create(**asked, n=2)
    chunks = list(client.chat.completions.create(**asked, stream=True))
    streamed = [
        token
        for chunk in chunks
        if chunk.choices and chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content or ()
    ]
    choice = whole.choices[0]
    assert choice.logprobs is not None
    content = choice.logprobs.content
    assert content is not None

    for token in content:
        assert len(token.top_logprobs) == 3
        best = token.top_logprobs[0]
        assert (best.token, best.bytes, best.logprob) == (token.token, token.bytes, token.logprob)
        assert token.logprob <= 0
    said = b"".join(bytes(token.bytes or ()) for token in content).decode()
    assert said.strip().startswith((choice.message.content or "").strip())
    assert [token.token for token in streamed] == [token.token for token in content]
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 2 * len(content)


def test_scores_a_prompt(client: OpenAI) -> None:
    """`echo` and `max_tokens: 0`: what one text costs is what it costs word by word."""
    prompt = "The harbour is open"
    asked = {"model": "tiny", "echo": True, "logprobs": 2, "temperature": 0}
    scored = client.completions.create(prompt=prompt, max_tokens=0, **asked).choices[0]
    longer = client.completions.create(prompt=prompt, max_tokens=4, **asked).choices[0]
    stream = client.completions.create(prompt=prompt, max_tokens=4, stream=True, **asked)
    parts = [chunk.choices[0] for chunk in stream]
    again = client.completions.create(prompt=longer.text, max_tokens=0, **asked).choices[0]
    assert scored.logprobs is not None
    assert longer.logprobs is not None
    assert again.logprobs is not None
    columns = scored.logprobs

    assert scored.text == prompt
    assert (columns.tokens or [])[-1].strip() in prompt
    assert columns.token_logprobs is not None
    assert columns.token_logprobs[0] is None
    assert all(value <= 0 for value in columns.token_logprobs[1:])
    assert longer.text.startswith(prompt)
    assert "".join(part.text for part in parts) == longer.text
    told = [t for part in parts if part.logprobs for t in part.logprobs.tokens or ()]
    assert told == longer.logprobs.tokens
    # Its answer is likely in its own eyes, whether it was written or given.
    num_shared = len(columns.token_logprobs)
    ours = (longer.logprobs.token_logprobs or [])[1:num_shared]
    assert ours == pytest.approx(columns.token_logprobs[1:], abs=1e-3)
    for offset, token in zip(longer.logprobs.text_offset or (), told, strict=True):
        if not token.startswith(("<", "bytes:")):
            assert longer.text[offset:].lstrip().startswith(token.strip())


def test_responds_with_logprobs(client: OpenAI) -> None:
    """Where they are to be included; the client gathers them from a stream."""
    asked = {"model": "tiny", "input": QUESTION, "max_output_tokens": 12}
    asked |= {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    whole = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        deltas = [e for e in stream if e.type == "response.output_text.delta"]
        gathered = stream.get_final_response()
    part = whole.output[0].content[0]

    assert part.logprobs
    assert [len(token.top_logprobs) for token in part.logprobs] == [2] * len(part.logprobs)
    assert gathered.output[0].content[0].logprobs == part.logprobs
    told = [token.token for delta in deltas for token in delta.logprobs]
    assert told == [token.token for token in part.logprobs]


def test_names_what_is_out_of_range(client: OpenAI) -> None:
    """400, with the field."""
    with pytest.raises(BadRequestError) as many:
        client.chat.completions.create(model="tiny", messages=HELLO, logprobs=True, top_logprobs=21)
    with pytest.raises(BadRequestError) as text:
        client.completions.create(model="tiny", prompt="a", logprobs=21)

    assert (many.value.param, text.value.param) == ("top_logprobs", "logprobs")


async def test_serves_the_async_client(url: str) -> None:
    """The same, without blocking."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        chat = await client.chat.completions.create(
            model="tiny", messages=HELLO, max_tokens=4, logprobs=True, top_logprobs=1
        )
        stream = await client.completions.create(
            model="tiny", prompt="The ", max_tokens=4, logprobs=1, echo=True, stream=True
        )
        parts = [chunk.choices[0] async for chunk in stream]

    assert chat.choices[0].logprobs is not None
    assert chat.choices[0].logprobs.content
    assert "".join(part.text for part in parts).startswith("The ")
    assert parts[0].logprobs is not None
