"""The routes of a model's adapters."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from api_fakes.documents import ECHO, Register
from api_fakes.double import DoubleReader

from torchloom.store import Store
from torchloom_api import adapter_shelf
from torchloom_api.service import Service, open_service
from torchloom_api.settings import Settings


ADAPTED = """
name: writer
kind: llm
factory: writer
config: {adapters: {legal: /legal}}
"""

PLAIN = "name: plain\nkind: llm\nfactory: writer"

URL = "/api/models/writer/adapters"

LEGAL = {"name": "legal", "source": "/legal", "is_declared": True}
SUPPORT = {"name": "support", "source": "/support", "is_declared": False}


@pytest.fixture
async def served(client: httpx.AsyncClient, register: Register) -> httpx.AsyncClient:
    """Give a client of a server with a model that has one adapter by its file."""
    await register(ADAPTED, PLAIN, ECHO)
    return client


async def load(client: httpx.AsyncClient, name: str, source: str) -> httpx.Response:
    """Ask for an adapter to be loaded."""
    return await client.post(URL, json={"name": name, "source": source})


async def items(client: httpx.AsyncClient) -> list[dict[str, object]]:
    """Give what the model has."""
    found: list[dict[str, object]] = (await client.get(URL)).json()["items"]
    return found


async def test_loads_lists_and_unloads(served: httpx.AsyncClient) -> None:
    """Beside those of the model file, which can go as well."""
    loaded = await load(served, "support", "/support")
    listed = await items(served)
    gone = await served.delete(f"{URL}/legal")

    assert (loaded.status_code, loaded.json()) == (201, SUPPORT)
    assert listed == [LEGAL, SUPPORT]
    assert gone.status_code == 204
    assert await items(served) == [SUPPORT]


async def test_loads_once_what_is_asked_for_twice(served: httpx.AsyncClient) -> None:
    """At once or later: the same again is 200, another source under the name 409."""
    both = await asyncio.gather(*(load(served, "support", "/support") for _ in range(2)))
    other = await load(served, "support", "/elsewhere")

    assert sorted(each.status_code for each in both) == [200, 201]
    assert other.status_code == 409
    assert "'/support'" in other.json()["detail"]
    assert await items(served) == [LEGAL, SUPPORT]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"name": "new", "source": "bad"}, 422, "adapter:new was not loaded"),
        ({"name": "a:b", "source": "/x"}, 422, "cannot be an adapter's name"),
        ({"name": "", "source": "/x"}, 422, "cannot be an adapter's name"),
        ({"name": "new", "source": "/etc"}, 422, "Not from there"),
        ({"name": "new"}, 422, "source"),
        ({"name": "new", "source": "/x", "rank": 3}, 422, "rank"),
    ],
)
async def test_changes_nothing_where_it_refuses(
    served: httpx.AsyncClient, body: dict[str, object], status: int, text: str
) -> None:
    """Whether an engine or the server refuses."""
    answer = await served.post(URL, json=body)

    assert answer.status_code == status
    assert text in answer.text
    assert await items(served) == [LEGAL]


@pytest.mark.parametrize(
    ("model", "status", "text"),
    [
        ("plain", 422, "takes no adapters"),
        ("echo", 422, "takes no adapters"),
        ("writr", 404, "Did you mean 'writer'?"),
    ],
)
async def test_refuses_models_without(
    served: httpx.AsyncClient, model: str, status: int, text: str
) -> None:
    """By a word on what such a model's file says."""
    url = f"/api/models/{model}/adapters"
    answer = await served.post(url, json={"name": "a", "source": "/a"})

    assert answer.status_code == status
    assert text in answer.json()["detail"]


async def test_names_the_nearest_of_one_that_is_not_there(served: httpx.AsyncClient) -> None:
    """404, and nothing has changed."""
    answer = await served.delete(f"{URL}/legl")

    assert answer.status_code == 404
    assert "Did you mean 'legal'?" in answer.json()["detail"]


async def test_keeps_what_was_changed_over_a_restart(tmp_path: Path) -> None:
    """What was loaded is loaded again, what was unloaded stays away, and what fails is told."""
    settings = Settings(store=str(tmp_path / "store"), grace_s=5.0)
    async with open_service(settings, reader=DoubleReader()) as service:
        await service.start([])
        await service.registrar.add_model(ADAPTED)
        await service.adapters.load("writer", None, adapter="support", source="/support")
        await service.adapters.unload("writer", None, adapter="legal")
    store = Store(settings.store_folder)
    kept = next(store.documents("adapters"))
    store.put("adapters", "writer", 1, kept.text.replace("{", '{"broken":"bad",', 1))

    async with open_service(settings, reader=DoubleReader()) as service:
        await service.start([])
        names = [entry.name for entry in service.adapters.list("writer", None)]
        await service.registrar.remove_model("writer", None, grace_s=1.0)

    assert names == ["support"]
    assert list(store.documents("adapters")) == []


async def test_takes_back_what_cannot_be_kept(
    service: Service, served: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves no adapter that a restart would not know."""

    def fail(*_: object) -> None:
        raise OSError("No space left.")

    monkeypatch.setattr(service.adapters._store, "put", fail)
    answer = await load(served, "support", "/support")

    assert answer.status_code == 500
    assert await items(served) == [LEGAL]


async def test_fetches_from_the_hub_before_engines_are_told(
    served: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step waits for a download."""
    fetched: list[str] = []
    monkeypatch.setattr(adapter_shelf, "resolve_source", lambda source, _: fetched.append(source))
    answer = await load(served, "hub", "hf://org/name@main")

    assert answer.status_code == 201
    assert fetched == ["hf://org/name@main"]
