"""Routes of runs."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from api_fakes.conversation import Conversation, read_events
from api_fakes.documents import ECHO, ENDLESS, SAY, STREAM, Register

from torchloom_api.edge import Edge


async def start(client: httpx.AsyncClient, workflow: str, inputs: object) -> str:
    """Start a run in the background; give its address."""
    path = f"/api/workflows/{workflow}/runs?background=true"
    return (await client.post(path, json=inputs)).headers["location"]


async def test_lists_the_newest_first(client: httpx.AsyncClient, register: Register) -> None:
    """The history is paged, and can be asked by workflow and by state."""
    await register(ECHO, SAY, STREAM)
    for value in ("one", "two"):
        await client.post("/api/workflows/say/runs", json={"value": value})
    await client.post("/api/workflows/stream/runs", json={})
    everything = (await client.get("/api/runs")).json()
    said = (await client.get("/api/runs?workflow=say&limit=1")).json()
    rest = (await client.get(f"/api/runs?workflow=say&after={said['next']}")).json()
    failed = (await client.get("/api/runs?state=failed")).json()

    assert [run["workflow"] for run in everything["items"]] == ["stream", "say", "say"]
    assert [page["items"][0]["run"] for page in (said, rest)] == [
        run["run"] for run in everything["items"][1:]
    ]
    assert failed["total"] == 0


async def test_tells_a_runs_failure(client: httpx.AsyncClient, register: Register) -> None:
    """A failed run keeps its error as a problem."""
    workflow = """
name: bad
inputs: {}
nodes: {a: {model: echo, inputs: {want: fail}}}
outputs: {}
"""
    await register(ECHO, workflow)
    place = await start(client, "bad", {})
    await client.get(place + "/events")
    run = (await client.get(place)).json()

    assert run["state"] == "failed"
    assert run["error"]["status"] == 500
    assert "broke on this input" in run["error"]["detail"]


async def test_replays_and_resumes_events(client: httpx.AsyncClient, register: Register) -> None:
    """A finished run tells all of its events again, or those behind `Last-Event-ID`."""
    await register(STREAM)
    place = await start(client, "stream", {"count": 5})
    whole = read_events((await client.get(place + "/events")).content)
    headers = {"last-event-id": str(whole[3][0])}
    rest = read_events((await client.get(place + "/events", headers=headers)).content)

    assert whole[-1][1] == "run.finished"
    assert rest == whole[4:]


async def test_resumes_behind_the_end(client: httpx.AsyncClient, register: Register) -> None:
    """An id behind the last event of a run that is over gives an empty stream, at once."""
    await register(STREAM)
    place = await start(client, "stream", {})
    await client.get(place + "/events")
    response = await client.get(place + "/events", headers={"last-event-id": "999999"})

    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 30])
async def test_refuses_ids_that_are_none(
    client: httpx.AsyncClient, register: Register, given: str
) -> None:
    """`Last-Event-ID` is a whole number."""
    await register(STREAM)
    place = await start(client, "stream", {})
    response = await client.get(place + "/events", headers={"last-event-id": given})

    assert response.status_code == 400


async def test_gives_many_followers_the_same_events(
    edge: Edge, client: httpx.AsyncClient, register: Register
) -> None:
    """Each follower has its own place in the events; one that leaves disturbs no other."""
    await register(ENDLESS)
    place = await start(client, "endless", {})
    follows = [Conversation(edge, "GET", place + "/events") for _ in range(3)]
    await asyncio.gather(*(follow.until(b"node.chunk") for follow in follows))
    follows[0].leave()
    await follows[0].end()
    await client.delete(place)
    await asyncio.gather(*(follow.end() for follow in follows[1:]))

    assert follows[1].body == follows[2].body
    assert follows[1].body.startswith(follows[0].body)
    assert read_events(follows[1].body)[-1][1] == "run.failed"


async def test_cancels_a_run(client: httpx.AsyncClient, register: Register) -> None:
    """A run that is cancelled says so; one that is over stays as it is."""
    await register(ENDLESS)
    place = await start(client, "endless", {})
    cancelled = await client.delete(place)
    again = await client.delete(place)

    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert cancelled.json()["error"]["type"] == "urn:torchloom:cancelled"
    assert again.json()["state"] == "cancelled"


async def test_does_not_know_other_runs(client: httpx.AsyncClient) -> None:
    """An unknown id is a 404 on every route of runs."""
    for method, path in (
        ("GET", "/api/runs/run_x"),
        ("GET", "/api/runs/run_x/events"),
        ("DELETE", "/api/runs/run_x"),
    ):
        response = await client.request(method, path)
        assert response.status_code == 404
        assert response.json()["type"] == "urn:torchloom:unknown-run"
