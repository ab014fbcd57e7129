"""What `model` may name."""

from __future__ import annotations

import httpx
import pytest
from api_fakes.documents import EMBEDDER, SAY, TALK, WRITER, Register


CHAT = "/v1/chat/completions"

#: A workflow with the name of a model.
NAMESAKE = TALK.replace("name: talk", "name: vectors")


def ask(model: str) -> dict[str, object]:
    """Make the body of a chat completion."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}]}


async def test_lists_models_and_workflows(client: httpx.AsyncClient, register: Register) -> None:
    """Those that can be called, each once; a workflow without `chat` is none of them."""
    await register(EMBEDDER, TALK, SAY, TALK.replace("inputs:", "version: 2\ninputs:", 1))
    cards = (await client.get("/v1/models")).json()["data"]

    assert sorted(card["id"] for card in cards) == ["talk", "vectors", "writer"]
    assert {card["object"] for card in cards} == {"model"}


@pytest.mark.parametrize("label", ["talk", "talk@1", "writer", "vectors@1"])
async def test_shows_one(client: httpx.AsyncClient, register: Register, label: str) -> None:
    """By name, or name and version."""
    await register(EMBEDDER, TALK)
    assert (await client.get(f"/v1/models/{label}")).json()["id"] == label


@pytest.mark.parametrize(
    ("label", "status", "text"),
    [
        ("talk@2", 404, "Workflow 'talk' has no version 2. It has: 1."),
        ("writer@2", 404, "has no version 2"),
        ("tlk", 404, "Did you mean 'talk'?"),
        ("say", 400, "has no `chat:` section"),
    ],
)
async def test_refuses_what_it_does_not_serve(
    client: httpx.AsyncClient, register: Register, label: str, status: int, text: str
) -> None:
    """Shown or called, the error is the same."""
    await register("name: echo\nfactory: echo", SAY, TALK)
    shown = await client.get(f"/v1/models/{label}")
    called = await client.post(CHAT, json=ask(label))

    for response in (shown, called):
        assert response.status_code == status
        assert text in response.json()["error"]["message"]
        assert response.json()["error"]["param"] == "model"


async def test_prefers_a_model_that_writes(client: httpx.AsyncClient, register: Register) -> None:
    """Of a workflow and a model with one name, a language model goes first, and no other kind."""
    await register(WRITER, EMBEDDER, NAMESAKE, TALK.replace("name: talk", "name: writer"))
    workflow = (await client.post(CHAT, json=ask("vectors"))).json()
    model = (await client.post(CHAT, json=ask("writer"))).json()

    assert "annotations" in workflow["choices"][0]["message"]
    assert "annotations" not in model["choices"][0]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "a"}),
        ("/v1/embeddings", {"input": "a"}),
        ("/v1/rerank", {"query": "a", "documents": ["a"]}),
        ("/v1/images/generations", {"prompt": "a"}),
    ],
)
async def test_lets_workflows_answer_chats_alone(
    client: httpx.AsyncClient, register: Register, path: str, body: dict[str, object]
) -> None:
    """What it is listed for, it says, wherever else it is asked."""
    await register(TALK)
    response = await client.post(path, json={"model": "talk", **body})

    assert response.status_code == 400
    assert "'talk' is a workflow" in response.json()["error"]["message"]
    assert response.json()["error"]["code"] == "unsupported_model"


async def test_calls_no_model_of_another_kind(
    client: httpx.AsyncClient, register: Register
) -> None:
    """It is shown, since KServe's clients ask the same route, but answers no chat."""
    await register("name: echo\nfactory: echo")
    shown = await client.get("/v1/models/echo")
    called = await client.post(CHAT, json=ask("echo"))

    assert (shown.status_code, shown.json()["ready"]) == (200, True)
    assert (called.status_code, "is of kind 'test'" in called.text) == (400, True)
