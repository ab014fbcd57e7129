"""Splits and shadows of traffic, over every way to ask a model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from api_fakes.documents import ECHO, EMBEDDER, SAY, WRITER, Register

from torchloom_api.service import Service


#: No test waits longer than this for something that must happen.
PATIENCE_S = 20.0

DOUBLER = """
name: doubler
kind: module
factory: doubler
"""

STREAMER = """
name: streamer
factory: streamer
"""


STREAM = {"accept": "text/event-stream"}


def _second(text: str) -> str:
    return f"{text}version: 2\n"


def _counts(service: Service, noun: str = "task") -> dict[str, float]:
    return {
        " ".join(series.labels): series.value
        for series in service.orchestrator.snapshot()
        if series.metric.name == f"shadow_{noun}s"
    }


async def _wait_for(service: Service, expected: Mapping[str, float], noun: str = "task") -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while _counts(service, noun) != expected:  # noqa: ASYNC110 - threads work on it
                await asyncio.sleep(0.01)
    except TimeoutError:
        assert _counts(service, noun) == expected


def _split(percent: float = 100, **weights: float) -> dict[str, object]:
    return {"weights": weights or {"1": 1}, "shadow": {"version": 2, "percent": percent}}


CHAT = {"model": "writer", "messages": [{"role": "user", "content": "a b"}]}
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [[1, 2]]}

#: What is served, and how it is asked: path, body, headers.
CALLS = {
    "native": (ECHO, "/api/models/echo/predict", {"inputs": {"value": "x"}}, {}),
    "native, by version": (ECHO, "/api/models/echo@1/predict", {"inputs": {}}, {}),
    "native, streamed": (STREAMER, "/api/models/streamer/predict", {"inputs": {}}, STREAM),
    "chat": (WRITER, "/v1/chat/completions", CHAT, {}),
    "chat, streamed": (WRITER, "/v1/chat/completions", {**CHAT, "stream": True}, {}),
    "completions": (WRITER, "/v1/completions", {"model": "writer", "prompt": "a b"}, {}),
    "embeddings": (EMBEDDER, "/v1/embeddings", {"model": "vectors", "input": "abc"}, {}),
    "kserve v2": (DOUBLER, "/v2/models/doubler/infer", {"inputs": [TENSOR]}, {}),
    "kserve v1": (DOUBLER, "/v1/models/doubler:predict", {"instances": [{"x": [1, 2]}]}, {}),
}


@pytest.mark.parametrize("call", CALLS)
async def test_gives_the_shadow_a_copy_whichever_way_a_model_is_asked(
    client: httpx.AsyncClient, register: Register, service: Service, call: str
) -> None:
    """The answer is that of the version that serves."""
    text, path, body, headers = CALLS[call]
    name = text.split()[1]
    await register(text)
    alone = await client.post(path, json=body, headers=headers)
    await register(_second(text))
    split = await client.put(f"/api/models/{name}/traffic", json=_split())
    answer = await client.post(path, json=body, headers=headers)

    assert (split.status_code, alone.status_code, answer.status_code) == (200, 200, 200), split.text
    assert len(answer.content) == len(alone.content)
    done = {f"{name} 1 served done": 1.0, f"{name} 2 shadow done": 1.0}
    await _wait_for(service, done)


async def test_gives_copies_of_the_calls_of_workflows(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """Each node's call of the model is one."""
    await register(ECHO, _second(ECHO), SAY)
    await client.put("/api/models/echo/traffic", json=_split())
    run = await client.post("/api/workflows/say/runs", json={"value": "x"})

    assert run.json()["outputs"] == {"said": "x"}
    await _wait_for(service, {"echo 1 served done": 2.0, "echo 2 shadow done": 2.0})


async def test_hides_what_a_shadow_says(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """It may fail on what the other answers; the metrics tell them apart."""
    await register(ECHO, _second(WRITER.replace("writer\n", "echo\n", 1)))
    view = await client.put("/api/models/echo/traffic", json=_split(50))
    answers = [
        await client.post("/api/models/echo/predict", json={"inputs": {"value": n}})
        for n in range(4)
    ]
    await _wait_for(service, {"echo 1 served done": 2.0, "echo 2 shadow failed": 2.0})
    metrics = (await client.get("/metrics")).text

    assert view.json() == {
        "name": "echo",
        "weights": {"1": 1.0},
        "shadow": {"version": 2, "percent": 50.0},
    }
    assert [each.json()["outputs"]["value"] for each in answers] == [0, 1, 2, 3]
    assert {each.json()["version"] for each in answers} == {1}
    labels = 'model="echo",role="shadow",state="failed",version="2"'
    assert f"torchloom_shadow_tasks_total{{{labels}}} 2.0" in metrics


async def test_shows_and_keeps_a_shadow(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """Until a split names none, or it is given requests of its own."""

    async def percents() -> list[float]:
        items = (await client.get("/api/models")).json()["items"]
        return [item["shadow_percent"] for item in items]

    await register(ECHO, _second(ECHO), ECHO + "version: 3\n")
    await client.put("/api/models/echo/traffic", json=_split(10))
    assert await percents() == [0.0, 10.0, 0.0]
    await client.patch("/api/models/echo", json={"traffic": {"1": 1, "3": 1}})
    assert await percents() == [0.0, 10.0, 0.0]
    await client.patch("/api/models/echo", json={"traffic": {"1": 1, "2": 1}})
    assert await percents() == [0.0, 0.0, 0.0]
    await client.put("/api/models/echo/traffic", json=_split(10))
    await client.put("/api/models/echo/traffic", json={"weights": {"1": 1}, "shadow": None})
    assert await percents() == [0.0, 0.0, 0.0]
    await client.put("/api/models/echo/traffic", json=_split(10))
    await client.delete("/api/models/echo@2")
    assert service.orchestrator.model_shadow("echo") is None


async def test_gives_the_shadow_of_a_workflow_copies_of_runs(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """They are in no list of runs."""
    await register(ECHO, SAY, SAY.replace("version: 1", "version: 2"))
    view = await client.put("/api/workflows/say/traffic", json=_split(100))
    run = await client.post("/api/workflows/say/runs", json={"value": "x"})
    await _wait_for(service, {"say 1 served done": 1.0, "say 2 shadow done": 1.0}, "run")

    assert view.json()["shadow"] == {"version": 2, "percent": 100.0}
    assert (run.json()["version"], run.json()["outputs"]) == (1, {"said": "x"})
    assert (await client.get("/api/runs")).json()["total"] == 1
    assert (await client.get("/api/workflows/say@2")).json()["shadow_percent"] == 100.0


@pytest.mark.parametrize("kind", ["models/echo", "workflows/say"])
async def test_refuses_a_shadow_that_makes_no_sense(
    client: httpx.AsyncClient, register: Register, kind: str
) -> None:
    """It says which part is wrong, and leaves the split as it was."""
    await register(ECHO, _second(ECHO), SAY, SAY.replace("version: 1", "version: 2"))
    for shadow, status, pointer in (
        ({"version": 2, "percent": 0}, 422, "/shadow/percent"),
        ({"version": 2, "percent": 101}, 422, "/shadow/percent"),
        ({"version": 2, "percent": -5}, 422, "/shadow/percent"),
        ({"version": 0, "percent": 5}, 422, "/shadow/version"),
        ({"version": "2", "percent": 5}, 422, "/shadow/version"),
        ({"version": 2}, 422, "/shadow"),
        ({"version": 2, "percent": 5, "weight": 1}, 422, "/shadow"),
        ("2", 422, "/shadow"),
        ({"version": 1, "percent": 5}, 422, None),
        ({"version": 9, "percent": 5}, 404, None),
    ):
        body = {"weights": {"1": 1}, "shadow": shadow}
        answer = await client.put(f"/api/{kind}/traffic", json=body)
        assert answer.status_code == status, (shadow, answer.text)
        if pointer is not None:
            assert answer.json()["errors"][0]["pointer"] == pointer
    assert (await client.get(f"/api/{kind}@1")).json()["weight"] == 0.0
    unknown = await client.put("/api/models/nope/traffic", json=_split())
    assert unknown.status_code == 404


async def test_keeps_what_is_left_of_a_split(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """What the store has names no version that is gone, so that a restart finds it whole."""
    folder = Path(service.settings.store) / "model_traffic"

    def kept() -> list[str]:
        return [file.read_text() for file in folder.iterdir()]

    await register(ECHO, _second(ECHO), ECHO + "version: 3\n")
    body = {"weights": {"1": 1, "3": 1}, "shadow": {"version": 2, "percent": 10}}
    await client.put("/api/models/echo/traffic", json=body)
    await client.delete("/api/models/echo@3")
    assert kept() == ['{"weights":{"1":1.0},"shadow":{"version":2,"percent":10.0}}\n']
    await client.delete("/api/models/echo@2")
    assert kept() == ['{"weights":{"1":1.0}}\n']
    await client.delete("/api/models/echo@1")
    assert kept() == []
