"""Embeddings, over an engine that gives the length of each text."""

from __future__ import annotations

import base64

import httpx
import numpy as np
import pytest
from api_fakes.documents import EMBEDDER, WRITER, Register


PATH = "/v1/embeddings"


async def test_embeds_a_text(client: httpx.AsyncClient, register: Register) -> None:
    """The answer has OpenAI's form, with usage."""
    await register(EMBEDDER)
    answer = (await client.post(PATH, json={"model": "vectors", "input": "abc"})).json()

    assert answer == {
        "object": "list",
        "model": "vectors",
        "data": [{"object": "embedding", "index": 0, "embedding": [3.0, 0.5]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


async def test_embeds_many_as_base64(client: httpx.AsyncClient, register: Register) -> None:
    """A vector for each text, in order, as little-endian float32."""
    await register(EMBEDDER)
    body = {"model": "vectors", "input": ["a", "bb"], "encoding_format": "base64", "dimensions": 2}
    data = (await client.post(PATH, json=body)).json()["data"]
    vectors = [np.frombuffer(base64.b64decode(each["embedding"]), "<f4").tolist() for each in data]

    assert vectors == [[1.0, 0.5], [2.0, 0.5]]
    assert [each["index"] for each in data] == [0, 1]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [""]}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": 3}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 3}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"model": "writer"}, "model"),
    ],
)
async def test_refuses_a_bad_request(
    client: httpx.AsyncClient, register: Register, change: dict[str, object], param: str
) -> None:
    """400 that names the field."""
    await register(EMBEDDER, WRITER)
    response = await client.post(PATH, json={"model": "vectors", "input": "a", **change})

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_cuts_no_text_unless_the_model_file_does(
    client: httpx.AsyncClient, register: Register
) -> None:
    """A text that is too long is a 400; `truncate` in the model file goes before."""
    await register(EMBEDDER)
    cutting = EMBEDDER.replace("vectors", "cutting") + "params: {truncate: true}"
    await register(cutting)
    refused = await client.post(PATH, json={"model": "vectors", "input": "long"})
    cut = await client.post(PATH, json={"model": "cutting", "input": "long"})

    assert refused.status_code == 400
    assert "8 tokens" in refused.json()["error"]["message"]
    assert cut.status_code == 200
