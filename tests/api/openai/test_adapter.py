"""Adapters as models: listed with their parent, asked for by `model:adapter`."""

from __future__ import annotations

import httpx
import pytest
from api_fakes.documents import EMBEDDER, Register


ADAPTED = """
name: writer
kind: llm
factory: writer
config: {adapters: {legal: /legal}}
"""


@pytest.fixture
async def served(client: httpx.AsyncClient, register: Register) -> httpx.AsyncClient:
    """Give a client of a server whose model has adapters, by its file and since."""
    await register(ADAPTED, ADAPTED + "version: 2", EMBEDDER)
    body = {"name": "support", "source": "/support"}
    await client.post("/api/models/writer@2/adapters", json=body)
    return client


def chat(model: str) -> dict[str, object]:
    """Ask which parameters come to the model."""
    return {"model": model, "messages": [{"role": "user", "content": "params"}]}


async def test_lists_adapters_with_their_parent(served: httpx.AsyncClient) -> None:
    """Each once, whatever versions have it; models and workflows have none."""
    cards = (await served.get("/v1/models")).json()["data"]
    parents = {card["id"]: card.get("parent") for card in cards}

    assert parents == {
        "writer": None,
        "vectors": None,
        "writer:legal": "writer",
        "writer:support": "writer",
    }


async def test_shows_one(served: httpx.AsyncClient) -> None:
    """By the name that requests have it by."""
    card = (await served.get("/v1/models/writer@2:support")).json()

    assert (card["id"], card["parent"]) == ("writer@2:support", "writer@2")


@pytest.mark.parametrize("model", ["writer:legal", "writer@2:support"])
async def test_asks_for_the_adapter(served: httpx.AsyncClient, model: str) -> None:
    """In chats, responses and completions; the answer names the model as it was asked for."""
    adapter = model.partition(":")[2]
    chatted = (await served.post("/v1/chat/completions", json=chat(model))).json()
    body = {"model": model, "prompt": "params"}
    completed = (await served.post("/v1/completions", json=body)).json()
    asked = {"model": model, "input": "params"}
    responded = (await served.post("/v1/responses", json=asked)).json()

    assert f'"adapter": "{adapter}"' in chatted["choices"][0]["message"]["content"]
    assert f'"adapter": "{adapter}"' in completed["choices"][0]["text"]
    assert f'"adapter": "{adapter}"' in responded["output"][0]["content"][0]["text"]
    assert chatted["model"] == completed["model"] == responded["model"] == model


async def test_asks_for_none_by_the_models_own_name(served: httpx.AsyncClient) -> None:
    """What has adapters is a model still."""
    answer = (await served.post("/v1/chat/completions", json=chat("writer"))).json()

    assert "adapter" not in answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("writer@2:suport", "Did you mean 'support'?"),
        ("writer@1:support", "Model 'writer@1' has no adapter 'support'. Known: legal."),
        ("writr:legal", "Did you mean 'writer'?"),
        ("writer:", "has no adapter ''"),
    ],
)
async def test_refuses_an_unknown_one(served: httpx.AsyncClient, model: str, text: str) -> None:
    """Shown or asked for, before any work, by name with the nearest one."""
    shown = await served.get(f"/v1/models/{model}")
    asked = await served.post("/v1/chat/completions", json=chat(model))
    completed = await served.post("/v1/completions", json={"model": model, "prompt": "a"})

    for answer in (shown, asked, completed):
        assert answer.status_code == 404
        assert text in answer.json()["error"]["message"]


async def test_lets_language_models_alone_have_adapters(served: httpx.AsyncClient) -> None:
    """An embedder's label has no second part."""
    body = {"model": "vectors:legal", "input": "a"}
    answer = await served.post("/v1/embeddings", json=body)

    assert answer.status_code == 404
