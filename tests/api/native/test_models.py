"""Routes of models."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from api_fakes.documents import ECHO, SAY, Register
from api_fakes.engines import Compiling

from torchloom.code_status import CodeStatus
from torchloom_api.service import Service


#: No test waits longer than this for something that must happen.
PATIENCE_S = 20.0

YAML = {"content-type": "application/yaml"}
TYPED = """
name: typed
factory: echo
signature:
  inputs: {value: {type: integer}}
"""


async def test_registers_a_model(client: httpx.AsyncClient) -> None:
    """201 once it serves, with its address; 200 where it was there; 409 for other content."""
    made = await client.post("/api/models", content=ECHO, headers=YAML)
    again = await client.post("/api/models", content=ECHO, headers=YAML)
    other = await client.post("/api/models", content=ECHO + "queue: 3", headers=YAML)
    view = made.json()

    assert [made.status_code, again.status_code, other.status_code] == [201, 200, 409]
    assert made.headers["location"] == "/api/models/echo@1"
    assert (view["name"], view["state"], view["weight"]) == ("echo", "ready", 1.0)
    assert view["replicas"][0]["device"] == "cpu"


async def test_tells_every_fault_with_its_line(client: httpx.AsyncClient) -> None:
    """422 with the nearest key and where it stands."""
    response = await client.post("/api/models", content="name: a\nfactroy: echo", headers=YAML)
    (error,) = response.json()["errors"]

    assert response.status_code == 422
    assert (error["line"], error["pointer"]) == (2, "/factroy")
    assert "Did you mean 'factory'?" in error["message"]


async def test_shows_why_a_model_does_not_serve(client: httpx.AsyncClient) -> None:
    """The reason is in the answer and can be asked for later."""
    response = await client.post("/api/models", content="name: b\nfactory: broken", headers=YAML)
    view = (await client.get("/api/models/b")).json()

    assert response.status_code == 500
    assert response.json()["type"] == "urn:torchloom:model-load-error"
    assert view["state"] == "failed"
    assert view["error"]["detail"] == response.json()["detail"]
    assert [item["state"] for item in (await client.get("/api/models")).json()["items"]] == [
        "failed"
    ]


async def test_shows_how_the_code_of_each_replica_stands(
    client: httpx.AsyncClient, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What compiles while the model serves is told as it comes; the others say nothing."""
    status = CodeStatus(part="all", state="compiling", pending=("int64 2x3",))
    monkeypatch.setattr(Compiling, "status", status)
    await register(ECHO, "name: hot\nfactory: compiling")

    async def code(model: str) -> list[dict[str, object]]:
        (replica,) = (await client.get(f"/api/models/{model}")).json()["replicas"]
        told: list[dict[str, object]] = replica["code"]
        return told

    (part,) = await code("hot")
    assert part == {
        "part": "all",
        "state": "compiling",
        "num_compiled": 0,
        "pending": ["int64 2x3"],
        "failures": [],
    }
    assert await code("echo") == []
    Compiling.status = CodeStatus(part="all", state="eager", failures=("no luck",))
    async with asyncio.timeout(PATIENCE_S):
        while (await code("hot"))[0]["state"] == "compiling":  # noqa: ASYNC110 - a thread looks
            await asyncio.sleep(0.01)
    (item,) = [i for i in (await client.get("/api/models")).json()["items"] if i["name"] == "hot"]
    assert item["replicas"][0]["code"][0]["failures"] == ["no luck"]


async def test_scales_a_model(client: httpx.AsyncClient, register: Register) -> None:
    """PATCH changes the number of workers while the model serves."""
    await register(ECHO)
    response = await client.patch("/api/models/echo", json={"replicas": {"min": 2}})

    assert len(response.json()["replicas"]) == 2


async def test_changes_the_bounds_of_the_number_of_replicas(
    client: httpx.AsyncClient, register: Register
) -> None:
    """What is not said stays; replicas within the bounds stay, too; a number alone is fixed."""
    await register(ECHO)
    fixed = {"min": 1, "max": 1, "wait_s": 5.0, "idle_s": 300.0, "error": None}
    assert (await client.get("/api/models/echo")).json()["scaling"] == fixed

    async def change(**replicas: float) -> tuple[object, int]:
        view = (await client.patch("/api/models/echo", json={"replicas": replicas})).json()
        return view["scaling"], len(view["replicas"])

    assert await change(min=3) == ({**fixed, "min": 3, "max": 3}, 3)
    elastic = {**fixed, "max": 4, "idle_s": 60.0}
    assert await change(min=1, max=4, idle_s=60) == (elastic, 3)
    assert await change(min=1, max=2, wait_s=0) == ({**elastic, "max": 2, "wait_s": 0.0}, 2)


async def test_takes_the_last_replica_away(client: httpx.AsyncClient, register: Register) -> None:
    """The model stays registered, refuses work, and does not keep the server from being ready."""
    await register(ECHO)
    emptied = await client.patch("/api/models/echo", json={"replicas": {"min": 0}})
    refused = await client.post("/api/models/echo/predict", json={"inputs": {}})

    assert (emptied.json()["state"], emptied.json()["replicas"]) == ("empty", [])
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (await client.get("/api/health/ready")).status_code == 200


async def test_splits_traffic(client: httpx.AsyncClient, register: Register) -> None:
    """PATCH splits the requests between versions."""
    await register(ECHO, ECHO + "version: 2\n")
    await client.patch("/api/models/echo", json={"traffic": {"1": 1, "2": 1}})
    answers = [await client.post("/api/models/echo/predict", json={"inputs": {}}) for _ in range(4)]

    assert sorted(answer.json()["version"] for answer in answers) == [1, 1, 2, 2]


async def test_refuses_changes_that_make_no_sense(
    client: httpx.AsyncClient, register: Register
) -> None:
    """Wrong numbers, unknown keys and what cannot be changed are refused, with the key."""
    await register(ECHO)
    for body, pointer in (
        ({"replicas": {"min": -1}}, "/replicas"),
        ({"replicas": {"min": 3, "max": 2}}, "/replicas"),
        ({"replicas": {"min": 1_000_000}}, "/replicas"),
        ({"replicas": {"min": "two"}}, "/replicas/min"),
        ({"replicas": {"mim": 2}}, "/replicas"),
        ({"replicas": {"min": 1, "wait_s": -1}}, "/replicas"),
        ({"replicas": {"min": 1, "idle_s": 0}}, "/replicas"),
        ({"replicas": {"min": 1, "idle_s": 1e9}}, "/replicas"),
        ({"replicas": {"min": 1, "idle_s": "long"}}, "/replicas/idle_s"),
        ({"batching": {"max_size": 8}}, "/batching"),
        ({"replcias": {"min": 2}}, "/replcias"),
    ):
        response = await client.patch("/api/models/echo", json=body)
        assert response.status_code == 422, body
        assert response.json()["errors"][0]["pointer"] == pointer
    assert (await client.patch("/api/models/nope", json={})).status_code == 404
    assert (await client.patch("/api/models/echo", json={})).status_code == 200


async def test_removes_a_model_unless_it_is_needed(
    client: httpx.AsyncClient, register: Register
) -> None:
    """409 names the workflow that calls it; without one, the model goes."""
    await register(ECHO, SAY)
    needed = await client.delete("/api/models/echo")
    await client.delete("/api/workflows/say")
    removed = await client.delete("/api/models/echo@1")

    assert needed.status_code == 409
    assert "say@1" in needed.json()["detail"]
    assert removed.status_code == 204
    assert (await client.get("/api/models/echo")).status_code == 404


async def test_shows_what_a_model_takes(client: httpx.AsyncClient, register: Register) -> None:
    """The signature is in the description, in JSON Schema's words."""
    await register(TYPED)
    view = (await client.get("/api/models/typed")).json()
    refused = await client.post("/api/models/typed/predict", json={"inputs": {"value": "x"}})

    assert view["signature"]["inputs"] == {"value": {"type": "integer"}}
    assert refused.status_code == 422


async def test_tells_what_a_model_holds(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """In `GET /api/models/{name}` and in the metrics, for each device."""
    await register("name: m\nfactory: large\n")
    model = (await client.get("/api/models/m")).json()
    metrics = (await client.get("/metrics")).text

    assert model["memory_bytes"] == model["replicas"][0]["memory_bytes"] == 1 << 30
    line = 'torchloom_model_memory_bytes{device="cpu",model="m",version="1"} 1.073741824e+09'
    assert line in metrics
    assert service.orchestrator.memory.used() == {"cpu": 1 << 30}


async def test_refuses_a_model_that_does_not_fit(
    client: httpx.AsyncClient, service: Service
) -> None:
    """The problem document has the figures, and nothing of the model stays in service."""
    service.orchestrator.memory.budgets = {"cpu": 1 << 29}
    answer = await client.post("/api/models", content="name: m\nfactory: large", headers=YAML)

    assert answer.status_code == 507
    problem = answer.json()
    assert problem["type"] == "urn:torchloom:out-of-memory"
    assert "'m@1' has taken 1.0 GiB on cpu" in problem["detail"]
    assert (await client.get("/api/models/m")).json()["state"] == "failed"
    assert service.orchestrator.models() == []
