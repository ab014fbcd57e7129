"""The official Python client, against a real server with a real language model and embedder."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI


pytestmark = pytest.mark.slow

#: The tiny model's own kind of question: see examples/rag.
QUESTION = "How much does a mooring cost?"


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    """Give a client that tries nothing twice."""
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


def native(url: str, **inputs: object) -> dict[str, object]:
    """Ask the model by the native API, for at most 12 tokens."""
    body = {"inputs": inputs, "params": {"max_tokens": 12}}
    answer = httpx.post(f"{url}/api/models/tiny/predict", json=body, timeout=120)
    return answer.raise_for_status().json()["outputs"]


def test_lists_models(client: OpenAI) -> None:
    """All models are there, and each can be asked for."""
    assert sorted(model.id for model in client.models.list()) == [
        *("asked", "bare", "caller", "minilm", "painter", "strict", "tiny")
    ]
    assert client.models.retrieve("tiny").owned_by == "torchloom"


def test_chats(client: OpenAI, url: str) -> None:
    """The answer is the native one, with its usage; streamed it is the same."""
    expected = native(url, messages=[{"role": "user", "content": QUESTION}])
    whole = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": QUESTION}], max_completion_tokens=12
    )
    stream = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": QUESTION}],
        max_completion_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

    assert whole.choices[0].message.content == text == expected["text"]
    assert whole.choices[0].finish_reason == expected["finish_reason"]
    assert whole.usage is not None
    usage = (whole.usage.prompt_tokens, whole.usage.completion_tokens)
    assert usage == (expected["usage"]["prompt"], expected["usage"]["completion"])
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_draws_choices_by_seed(client: OpenAI) -> None:
    """The same seed gives the same choices, and the second has a seed of its own."""
    answers = [
        client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": QUESTION}],
            max_tokens=12,
            temperature=50.0,
            seed=seed,
            n=num,
            extra_body={"top_k": 50},
        )
        for seed, num in ((3, 2), (3, 2), (4, 1))
    ]
    said = [[choice.message.content for choice in answer.choices] for answer in answers]

    assert said[0] == said[1]
    assert said[0][0] != said[0][1]
    assert said[2] == said[0][1:]


def test_responds(client: OpenAI, url: str) -> None:
    """A response is the chat's answer; its events are gathered to the same by the client."""
    expected = native(url, messages=[{"role": "user", "content": QUESTION}])
    asked = {"model": "tiny", "input": QUESTION, "max_output_tokens": 12, "temperature": 0}
    whole = client.responses.create(**asked, metadata={"case": "7"}, store=False)
    events = list(client.responses.create(**asked, stream=True))
    with client.responses.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        gathered = stream.get_final_response()

    assert whole.output_text == gathered.output_text == expected["text"]
    assert whole.metadata == {"case": "7"}
    assert whole.status == gathered.status == "completed"
    assert whole.usage is not None
    usage = (whole.usage.input_tokens, whole.usage.output_tokens)
    assert usage == (expected["usage"]["prompt"], expected["usage"]["completion"])
    assert whole.usage.input_tokens_details.cached_tokens == 0
    assert gathered.usage == whole.usage
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == expected["text"]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


def test_goes_on_with_a_response(client: OpenAI, url: str) -> None:
    """Output items go back in as they came; instructions are what the system says."""
    first = client.responses.create(model="tiny", input=QUESTION, max_output_tokens=12)
    items = [{"role": "user", "content": QUESTION}, *first.output]
    items += [{"role": "user", "content": [{"type": "input_text", "text": "And a berth?"}]}]
    second = client.responses.create(
        model="tiny", instructions="Be brief.", input=items, max_output_tokens=12
    )
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And a berth?"},
    ]

    assert second.output_text == native(url, messages=said)["text"]


def test_completes(client: OpenAI, url: str) -> None:
    """Raw text, whole and streamed; a stop string ends it."""
    text = client.completions.create(model="tiny", prompt="The ", max_tokens=12).choices[0].text
    stream = client.completions.create(model="tiny", prompt="The ", max_tokens=12, stream=True)
    streamed = "".join(chunk.choices[0].text for chunk in stream)
    stop = text[3:5]
    stopped = client.completions.create(model="tiny", prompt="The ", max_tokens=12, stop=stop)

    assert text == streamed == native(url, prompt="The ")["text"]
    assert stopped.choices[0].text == text[: text.index(stop)]
    assert stopped.choices[0].finish_reason == "stop"


def test_goes_on_from_a_prompt(client: OpenAI) -> None:
    """A completion begins with its space, though this tokenizer drops that of a text by itself."""
    asked = {"model": "tiny", "prompt": "How much does a", "max_tokens": 4, "logprobs": 0}
    (choice,) = client.completions.create(**asked).choices
    chunks = list(client.completions.create(**asked, stream=True))
    (echoed,) = client.completions.create(**asked, echo=True).choices
    said = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": QUESTION}], max_tokens=4
    )

    assert choice.text.startswith(" ")
    assert choice.text == "".join(choice.logprobs.tokens)
    assert "".join(chunk.choices[0].text for chunk in chunks) == choice.text
    assert echoed.text == "How much does a" + choice.text
    assert not said.choices[0].message.content.startswith(" ")


def test_embeds(client: OpenAI, url: str) -> None:
    """The vectors are the native ones; the client asks for base64 unless told otherwise."""
    texts = ["a cat", "a boat"]
    body = {"inputs": {"texts": texts}}
    answer = httpx.post(f"{url}/api/models/minilm/predict", json=body, timeout=120).json()
    packed = client.embeddings.create(model="minilm", input=texts)
    plain = client.embeddings.create(model="minilm", input=texts, encoding_format="float")

    assert [each.embedding for each in packed.data] == [each.embedding for each in plain.data]
    for ours, expected in zip(plain.data, answer["outputs"]["embeddings"], strict=True):
        assert ours.embedding == pytest.approx(expected, abs=1e-6)
    assert packed.usage.prompt_tokens == answer["outputs"]["usage"]["prompt"] == 8


def test_ranks(client: OpenAI) -> None:
    """The document that is about the query comes first, by the cosine of their embeddings."""
    documents = ["Bread is baked at night.", "The harbour is closed in winter.", "Cats sleep."]
    query = "When can boats not use the port?"
    body = {"model": "minilm", "query": query, "documents": documents, "top_n": 2}
    ranking = client.post("/rerank", cast_to=httpx.Response, body=body).json()
    vectors = [
        np.array(each.embedding)
        for each in client.embeddings.create(model="minilm", input=[query, documents[1]]).data
    ]

    assert len(ranking["results"]) == 2
    assert ranking["results"][0]["index"] == 1
    cosine = vectors[0] @ vectors[1]
    assert ranking["results"][0]["relevance_score"] == pytest.approx(cosine, abs=1e-4)
    assert ranking["results"][1]["relevance_score"] < cosine


def test_draws_pictures(client: OpenAI, url: str) -> None:
    """Pictures are the native ones of the same seeds; a size that cannot be drawn is refused."""
    drawn = client.images.generate(
        model="painter", prompt="a red boat", n=2, size="64x64", extra_body={"seed": 5}
    )
    body = {"inputs": {"prompt": "a red boat", "seed": 6, "width": 64, "height": 64}}
    answer = httpx.post(f"{url}/api/models/painter/predict", json=body, timeout=120).json()
    with pytest.raises(BadRequestError) as odd:
        client.images.generate(model="painter", prompt="a red boat", size="63x64")

    assert (drawn.size, drawn.output_format) == ("64x64", "png")
    assert drawn.data is not None
    assert [picture.seed for picture in drawn.data] == [5, 6]
    assert drawn.data[0].b64_json != drawn.data[1].b64_json == answer["outputs"]["image"]
    assert "this model draws multiples of" in odd.value.message


def test_raises_the_clients_errors(client: OpenAI) -> None:
    """An unknown model, a prompt too long, what is not served: each has its own error."""
    hello = [{"role": "user", "content": "hello"}]
    with pytest.raises(NotFoundError) as missing:
        client.chat.completions.create(model="tony", messages=hello)
    with pytest.raises(BadRequestError) as long:
        client.completions.create(model="tiny", prompt="word " * 3000)
    with pytest.raises(BadRequestError) as tools:
        client.chat.completions.create(
            model="tiny",
            messages=hello,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
        )
    with pytest.raises(BadRequestError) as stored:
        client.responses.create(model="tiny", input="hi", previous_response_id="resp_1")
    with pytest.raises(BadRequestError) as text:
        client.embeddings.create(model="minilm", input="word " * 3000)

    assert missing.value.code == "model_not_found"
    assert "this model holds 1024" in long.value.message
    assert long.value.code == text.value.code == "context_length_exceeded"
    assert "chat template knows no tools" in tools.value.message
    assert stored.value.param == "previous_response_id"
    assert "tokens that the model takes" in text.value.message


def test_raises_what_a_chat_template_refuses(client: OpenAI) -> None:
    """Its own words, and what goes wrong in it, are the caller's error: in each form of a chat."""
    hello = {"role": "user", "content": "hello"}
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(
            model="strict", messages=[{"role": "system", "content": "x"}, hello]
        )
    with pytest.raises(BadRequestError) as streamed:
        client.responses.create(model="strict", instructions="x", input="hello", stream=True)
    with pytest.raises(BadRequestError) as broken:
        client.chat.completions.create(
            model="strict", messages=[hello, {"role": "tool", "content": "x"}]
        )

    for error in (refused, streamed):
        assert "The chat template refuses these messages: No system here." in error.value.message
    assert "The chat template refuses these messages: " in broken.value.message


async def test_serves_the_async_client(url: str) -> None:
    """Chat, stream and embeddings; leaving a stream in the middle does no harm."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        whole = await client.completions.create(model="tiny", prompt="The ", max_tokens=8)
        stream = await client.completions.create(
            model="tiny",
            prompt="The ",
            max_tokens=800,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        async for _ in stream:
            break
        await stream.close()
        after = await client.completions.create(model="tiny", prompt="The ", max_tokens=8)
        response = await client.responses.create(model="tiny", input=QUESTION)
        async with client.responses.stream(model="tiny", input=QUESTION) as events:
            gathered = await events.get_final_response()
        vectors = await client.embeddings.create(model="minilm", input="a cat")

    assert after.choices[0].text == whole.choices[0].text
    assert gathered.output_text == response.output_text
    assert gathered.status == response.status
    assert len(vectors.data[0].embedding) == 384
