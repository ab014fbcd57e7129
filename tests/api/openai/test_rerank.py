"""Ranking, over an embedder whose vectors are [length of the text, a half]."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from api_fakes.documents import EMBEDDER, WRITER, Register

from torchloom_api.openai.rerank import to_scores


PATH = "/v1/rerank"

Body = dict[str, object]


def ask(**more: object) -> Body:
    """Make the body of a call."""
    return {"model": "vectors", "query": "aaa", "documents": ["a", "aaa", "aaaaa"], **more}


def cosine(one: int, other: int) -> float:
    """Give the cosine of the vectors of two texts of these lengths."""
    return (one * other + 0.25) / np.hypot(one, 0.5) / np.hypot(other, 0.5)


async def test_ranks_documents(client: httpx.AsyncClient, register: Register) -> None:
    """The nearest first, by their places, with the cosines as scores; tokens are counted."""
    await register(EMBEDDER)
    answer = (await client.post(PATH, json=ask())).json()

    assert answer.pop("id").startswith("rerank-")
    assert answer == {
        "model": "vectors",
        "results": [
            {"index": 1, "relevance_score": pytest.approx(1.0)},
            {"index": 2, "relevance_score": pytest.approx(cosine(3, 5))},
            {"index": 0, "relevance_score": pytest.approx(cosine(3, 1))},
        ],
        "usage": {"prompt_tokens": 12, "total_tokens": 12},
    }


async def test_gives_the_first_with_their_texts(
    client: httpx.AsyncClient, register: Register
) -> None:
    """`top_n` cuts, however large; documents may be mappings, and come back as such."""
    await register(EMBEDDER)
    documents = ["a", {"text": "aaa", "title": "A"}]
    body = ask(documents=documents, top_n=1, return_documents=True)
    first = (await client.post(PATH, json=body)).json()["results"]
    every = (await client.post(PATH, json={**body, "top_n": 99})).json()["results"]

    assert [(rank["index"], rank["document"]) for rank in first] == [(1, {"text": "aaa"})]
    assert len(every) == 2


async def test_keeps_the_order_of_equal_scores(
    client: httpx.AsyncClient, register: Register
) -> None:
    """What was sent first stays first."""
    await register(EMBEDDER)
    ranks = (await client.post(PATH, json=ask(documents=["b", "aaa", "c", "d"]))).json()["results"]

    assert [rank["index"] for rank in ranks] == [1, 0, 2, 3]


def test_scores_vectors_of_any_length() -> None:
    """Only directions count; opposite ones are at -1, and zeros at 0 from all."""
    vectors = np.array([[2, 0], [9, 0], [-1, 0], [0, 3], [0, 0]], np.float32)
    assert to_scores(vectors).tolist() == [1.0, -1.0, 0.0, 0.0]
    assert to_scores(vectors[::-1]).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"query": ""}, "query", "invalid_value"),
        ({"query": ["a"]}, "query", "invalid_value"),
        ({"documents": []}, "documents", "invalid_value"),
        ({"documents": "a"}, "documents", "invalid_value"),
        ({"documents": ["a", ""]}, "documents[1]", "invalid_value"),
        ({"documents": ["a", 3]}, "documents[1]", "invalid_value"),
        ({"documents": [{"title": "a"}]}, "documents[0].text", "missing_required_parameter"),
        ({"documents": ["a"] * 2048}, "documents", "invalid_value"),
        ({"top_n": 0}, "top_n", "invalid_value"),
        ({"return_documents": "yes"}, "return_documents", "invalid_value"),
        ({"max_tokens_per_doc": 9}, "max_tokens_per_doc", "unsupported_parameter"),
        ({"model": "writer"}, "model", "unsupported_model"),
        ({"model": "vectrs"}, "model", "model_not_found"),
    ],
)
async def test_refuses_a_bad_request(
    client: httpx.AsyncClient, register: Register, change: Body, param: str, code: str
) -> None:
    """An error in OpenAI's shape, that names the field."""
    await register(EMBEDDER, WRITER)
    response = await client.post(PATH, json={**ask(), **change})
    error = response.json()["error"]

    assert response.status_code == (404 if code == "model_not_found" else 400)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)


async def test_cuts_no_text_unless_the_model_file_does(
    client: httpx.AsyncClient, register: Register
) -> None:
    """A text that is too long is a 400; `truncate` in the model file goes before."""
    await register(EMBEDDER)
    await register(EMBEDDER.replace("vectors", "cutting") + "params: {truncate: true}")
    refused = await client.post(PATH, json=ask(query="long"))
    cut = await client.post(PATH, json=ask(model="cutting", query="long"))

    assert (refused.status_code, cut.status_code) == (400, 200)
