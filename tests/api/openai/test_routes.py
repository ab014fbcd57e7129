"""Models in OpenAI's form, unknown routes, and the document."""

from __future__ import annotations

import httpx
import jsonschema_rs
from api_fakes.documents import ECHO, EMBEDDER, WRITER, Register


async def test_lists_what_it_serves(client: httpx.AsyncClient, register: Register) -> None:
    """Language models and embedders, by name, once each; other kinds are not of this API."""
    await register(WRITER, WRITER + "version: 2", EMBEDDER, ECHO)
    answer = (await client.get("/v1/models")).json()

    assert answer["object"] == "list"
    assert [card["id"] for card in answer["data"]] == ["vectors", "writer"]
    assert answer["models"] == ["echo", "vectors", "writer"]
    assert answer["data"][0]["object"] == "model"
    assert answer["data"][0]["created"] > 1_700_000_000


async def test_shows_a_model(client: httpx.AsyncClient, register: Register) -> None:
    """By name, or with its version; 404 for none. KServe asks here for models of any kind."""
    await register(WRITER, ECHO)
    shown = [(await client.get(f"/v1/models/{i}")).json()["id"] for i in ("writer", "writer@1")]
    missing = await client.get("/v1/models/writers")
    other = (await client.get("/v1/models/echo")).json()

    assert shown == ["writer", "writer@1"]
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"
    assert (other["name"], other["ready"]) == ("echo", True)


async def test_answers_unknown_routes_in_the_same_shape(client: httpx.AsyncClient) -> None:
    """404 and 405 are errors of OpenAI's form below /v1."""
    missing = await client.post("/v1/answers", json={})
    wrong = await client.get("/v1/completions")

    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert missing.json()["error"]["type"] == "invalid_request_error"
    assert wrong.headers["allow"]


async def test_answers_at_odd_spellings(client: httpx.AsyncClient, register: Register) -> None:
    """A slash too many goes by Litestar, to the same call."""
    await register(WRITER, EMBEDDER)
    body = {"model": "writer", "prompt": "a"}
    chat = {"model": "writer", "messages": [{"role": "user", "content": "a"}]}
    vectors = {"model": "vectors", "input": "a"}
    answers = [
        await client.post("/v1/completions/", json=body),
        await client.post("/v1/chat/completions/", json=chat),
        await client.post("/v1/embeddings/", json=vectors),
        await client.post("/v1/completions/", json={"model": "none", "prompt": "a"}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 404]
    assert answers[-1].json()["error"]["code"] == "model_not_found"


async def test_stands_in_the_document(client: httpx.AsyncClient, register: Register) -> None:
    """Each call has its own body, answer and error, which fit what is sent and answered."""
    await register(WRITER)
    document = (await client.get("/api/docs/openapi.json")).json()
    operation = document["paths"]["/v1/chat/completions"]["post"]
    body = {"model": "writer", "messages": [{"role": "user", "content": "a"}], "n": 2}
    answer = await client.post("/v1/chat/completions", json=body)
    error = await client.post("/v1/chat/completions", json={})

    def check(holder: dict[str, object], value: object) -> None:
        schema = holder["content"]["application/json"]["schema"]
        jsonschema_rs.validate({**schema, "components": document["components"]}, value)

    check(operation["requestBody"], body)
    check(operation["responses"]["200"], answer.json())
    check(operation["responses"]["default"], error.json())
    assert "text/event-stream" in operation["responses"]["200"]["content"]
    assert "/v1/embeddings" in document["paths"]
