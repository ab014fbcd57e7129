"""A prompt in, text out, as TensorRT-LLM's handler has it, over an engine that says it back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from api_fakes.engines import Endless
from api_fakes.torchserve import MakeLlm, Serve, Served
from api_fakes.turns import turns


PLAIN = "/predictions/llm"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """No endless answer outlives its test."""
    yield
    Endless.held.clear()


@pytest.fixture
async def served(serve: Serve, make_llm: MakeLlm) -> Served:
    """Give a server that has a model `llm`."""
    make_llm("llm", handler="trt_llm_handler")
    return await serve(load_models=("llm.mar",))


@pytest.mark.parametrize("path", [PLAIN, f"{PLAIN}/1.0", "/llm/predict", "/v1/models/llm:predict"])
async def test_writes_text(served: Served, path: str) -> None:
    """On every way to a model; the text has no type."""
    answer = await served.inference.post(path, json={"prompt": "a b c"})

    assert (answer.status_code, answer.text) == (200, "a b c ")
    assert "content-type" not in answer.headers


async def test_writes_pieces(served: Served) -> None:
    """A JSON object for each, in a chunk of its own."""
    body = {"prompt": "a b c", "streaming": True}
    async with served.inference.stream("POST", PLAIN, json=body) as answer:
        chunks = [json.loads(chunk) async for chunk in answer.aiter_raw()]

    assert answer.headers["ts_stream_next"] == "true"
    assert chunks == [{"text": "a "}, {"text": "b "}, {"text": "c "}]


async def test_streams_an_answer_without_a_word(served: Served) -> None:
    """It is empty, and complete."""
    answer = await served.inference.post(
        PLAIN, json={"prompt": "a", "max_tokens": 0, "streaming": True}
    )

    assert (answer.status_code, answer.content) == (200, b"")


async def test_knows_the_words_of_tensorrt_llm(served: Served) -> None:
    """What is null is not said, the model has its own end, and 32 tokens are the default."""
    body = {"prompt": "params", "max_new_tokens": 5, "random_seed": 7, "min_length": 2}
    body |= {"end_id": 2, "pad_id": 0, "top_k": None, "temperature": 0.5}
    answer = await served.inference.post(PLAIN, json=body)
    short = await served.inference.post(PLAIN, json={"prompt": "a " * 50})
    told = await served.inference.post(PLAIN, json={"prompt": "params"})

    assert answer.text.startswith('{"max_tokens": 5, "min_tokens": 2, "seed": ')
    assert len(short.text.split()) == 32
    assert json.loads(told.text) == {"max_tokens": 32}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "'prompt' must be a text"),
        ({"prompt": 7}, "'prompt' must be a text"),
        ({"prompt": ""}, "'prompt' must be a text"),
        ({"prompt": "a", "streaming": 1}, "'streaming' must be true or false"),
        ({"prompt": "a", "beam_width": 4}, "beam_width"),
        ({"prompt": "a", "max_tokens": "many"}, "max_tokens"),
        ({"prompt": "refuse"}, "this model holds 8"),
        ([], "must be an object"),
    ],
)
async def test_refuses_what_it_cannot_write_by(served: Served, body: object, says: str) -> None:
    """400 in TorchServe's shape, which names the field."""
    answer = await served.inference.post(PLAIN, json=body)

    assert (answer.status_code, answer.json()["type"]) == (400, "BadRequestException")
    assert says in answer.json()["message"]


async def test_refuses_what_is_no_json(served: Served) -> None:
    """TorchServe's handler raises, and says 503."""
    answer = await served.inference.post(PLAIN, content=b"a b c")

    assert (answer.status_code, answer.json()["type"]) == (400, "BadRequestException")


@pytest.mark.parametrize("more", [{"streaming": True}, {}])
async def test_says_that_it_failed(served: Served, more: dict[str, object]) -> None:
    """In TorchServe's words, while nothing is out."""
    answer = await served.inference.post(PLAIN, json={"prompt": "fail", **more})

    assert (answer.status_code, answer.json()["message"]) == (503, "Prediction failed")


async def test_cuts_a_stream_that_fails_later(served: Served) -> None:
    """So that its client sees that the end is missing."""
    head = f"POST {PLAIN} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"
    body = json.dumps({"prompt": "break it", "streaming": True})
    raw = await served.raw(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())

    assert b'{"text": "break "}' in raw
    assert not raw.endswith(b"0\r\n\r\n")


async def test_cancels_what_nobody_waits_for(serve: Serve, make_llm: MakeLlm) -> None:
    """Whole or in pieces."""
    make_llm("endless", handler="trt_llm_handler")
    served = await serve(load_models=("endless.mar",))
    for is_streamed in (True, False):
        body = {"prompt": "a", "streaming": is_streamed}
        asking = asyncio.create_task(served.inference.post("/predictions/endless", json=body))
        await turns(lambda: Endless.held)
        asking.cancel()
        await turns(lambda: not Endless.held)


async def test_has_openais_paths_as_well(served: Served) -> None:
    """And no others."""
    body = {"model": "llm", "prompt": "a b"}
    answer = await served.inference.post(f"{PLAIN}/1.0/v1/completions", json=body)
    other = await served.inference.post(f"{PLAIN}/1.0/generate", json=body)

    assert answer.json()["choices"][0]["text"] == "a b "
    assert other.json()["message"] == "Unknown API endpoint: generate"
