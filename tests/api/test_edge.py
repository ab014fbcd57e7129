"""Where every request comes in and every error goes out."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest
from api_fakes.conversation import Conversation
from api_fakes.documents import ALL, ECHO, SAY, Register

from torchloom_api.app import create_app
from torchloom_api.edge import Edge
from torchloom_api.service import Service
from torchloom_api.settings import Settings


async def test_gives_every_answer_an_id_and_a_trace(client: httpx.AsyncClient) -> None:
    """Successes, problems and unknown routes alike."""
    for path in ("/api/workflows", "/api/workflows/x", "/nowhere"):
        response = await client.get(path)

        assert response.headers["x-request-id"]
        assert response.headers["traceparent"].startswith("00-")


async def test_takes_the_clients_id(client: httpx.AsyncClient) -> None:
    """An id that the client gives comes back."""
    response = await client.get("/api/workflows", headers={"x-request-id": "abc-123"})

    assert response.headers["x-request-id"] == "abc-123"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", "<script>", "é"])
async def test_makes_an_id_where_the_clients_is_odd(client: httpx.AsyncClient, given: str) -> None:
    """An id that could do harm in a log or a header is not repeated."""
    headers = {"x-request-id": given.encode()}
    response = await client.get("/api/workflows", headers=headers)

    assert response.headers["x-request-id"] not in ("", given)


async def test_goes_on_with_the_clients_trace(client: httpx.AsyncClient) -> None:
    """The answer is a span of the same trace."""
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = await client.get("/api/workflows", headers={"traceparent": given})

    assert response.headers["traceparent"].split("-")[1] == given.split("-")[1]


async def test_answers_every_error_with_a_problem(client: httpx.AsyncClient) -> None:
    """Unknown routes, wrong methods and bad parameters are problem documents too."""
    answers = [
        (await client.get("/api/workflws"), 404),
        (await client.patch("/api/workflows"), 405),
        (await client.get("/api/models/echo/predict"), 405),
        (await client.get("/api/runs?limit=0"), 400),
        (await client.get("/api/runs?state=lost"), 400),
        (await client.get("/api/workflows/a@b"), 400),
    ]

    for response, status in answers:
        problem = response.json()
        assert response.status_code == problem["status"] == status
        assert response.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "detail", "instance"} <= problem.keys()
    assert "Did you mean '/api/workflows'?" in answers[0][0].json()["detail"]
    assert answers[1][0].headers["allow"]
    assert "limit" in answers[3][0].json()["errors"][0]["message"]


async def test_hides_what_went_wrong_in_the_server(
    client: httpx.AsyncClient,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fault of ours is a 500 with an id; the trace is in the log under that id alone."""

    def fail(*_: object) -> None:
        raise RuntimeError("a secret path /etc/x")

    monkeypatch.setattr(service.orchestrator, "pick_model", fail)
    monkeypatch.setattr(service.orchestrator, "models", fail)
    for response in (
        await client.post("/api/models/echo/predict", json={"inputs": {}}),
        await client.get("/api/models"),
    ):
        assert response.status_code == 500
        assert "secret" not in response.text
        assert response.headers["x-request-id"] in response.json()["detail"]
        assert response.headers["x-request-id"] in caplog.text
    assert "a secret path" in caplog.text


async def test_refuses_work_until_everything_serves(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """While models are being loaded, work is refused, and health says so."""
    await register(ECHO, SAY)
    service.is_started = False

    for response in (
        await client.post("/api/workflows/say/runs", json={"value": "x"}),
        await client.post("/api/models/echo/predict", json={"inputs": {}}),
        await client.get("/api/health/startup"),
        await client.get("/api/health/ready"),
    ):
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
    assert (await client.get("/api/health/live")).status_code == 200


async def test_refuses_work_while_draining(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """New work gets 503 and its connection is closed; what was accepted can still be looked at."""
    await register(ECHO, SAY)
    await service.orchestrator.drain(1.0)

    for response in (
        await client.post("/api/workflows/say/runs", json={"value": "x"}),
        await client.post("/api/models/echo/predict", json={"inputs": {}}),
        await client.post("/api/models", content=ECHO, headers={"content-type": "text/yaml"}),
        await client.get("/api/health/ready"),
    ):
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.headers["connection"] == "close"
    assert (await client.get("/api/runs")).status_code == 200


async def test_bounds_the_requests_in_hand(
    edge: Edge, client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """More requests at once than the operator allows are refused, not queued."""
    await register("name: endless\nfactory: endless")
    service.settings = Settings(max_requests=1, store=service.settings.store)
    headers = {"content-type": "application/json"}
    first = Conversation(
        edge, "POST", "/api/models/endless/predict", body=b'{"inputs":{}}', headers=headers
    )
    await asyncio.sleep(0)
    assert service.requests.num_in_hand == 1
    second = await client.post("/api/models/endless/predict", json={"inputs": {}})
    first.leave()
    await first.end()

    assert second.status_code == 503
    assert "1 requests in hand" in second.json()["detail"]


async def test_serves_each_scope_on_its_listener(service: Service, register: Register) -> None:
    """A listener serves what its scopes allow and says where the rest is."""
    await register(ECHO)
    app = create_app(service)
    calls = {
        "inference": ("POST", "/api/models/echo/predict"),
        "management": ("DELETE", "/api/models/nothing"),
        "metrics": ("GET", "/metrics"),
    }
    for scope in ALL:
        transport = httpx.ASGITransport(app=Edge(service, app, frozenset({scope})))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for wanted, (method, path) in calls.items():
                body = {"inputs": {}} if method == "POST" else None
                response = await client.request(method, path, json=body)
                is_elsewhere = "listener" in response.text

                assert is_elsewhere == (wanted != scope), (scope, wanted, response.text)
            assert (await client.get("/api/health/live")).status_code == 200


async def test_measures_requests_by_route(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """Requests are counted under the route's pattern, so that names make no new series."""
    await register(ECHO)
    await client.post("/api/models/echo/predict", json={"inputs": {}})
    await client.get("/api/models/echo")
    await client.get("/api/models/other")
    await client.get("/nowhere/1")
    series = {s.labels: s for s in service.requests.snapshot() if s.counts}

    assert set(series) == {
        ("POST", "/api/models/{label}/predict", "200"),
        ("GET", "/api/models/{label}", "200"),
        ("GET", "/api/models/{label}", "404"),
        ("GET", "unknown", "404"),
    }
    assert service.requests.num_in_hand == 0


async def test_logs_a_client_that_left(
    edge: Edge, register: Register, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """499 is for the log and the metrics alone."""
    await register("name: endless\nfactory: endless")
    caplog.set_level(logging.INFO, logger="torchloom_api.edge")
    headers = {"content-type": "application/json"}
    talk = Conversation(
        edge, "POST", "/api/models/endless/predict", body=b'{"inputs":{}}', headers=headers
    )
    talk.leave()
    await talk.end()

    assert talk.status == 0
    assert "the client left" in caplog.text
    assert ("POST", "/api/models/{label}/predict", "499") in {
        series.labels for series in service.requests.snapshot()
    }


async def test_forgets_a_client_that_leaves_while_it_registers(
    edge: Edge, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """A registration that breaks off registers nothing, and is no fault of the server."""
    headers = {"content-type": "application/yaml"}
    talk = Conversation(edge, "POST", "/api/models", body=b"name: ", headers=headers, is_cut=True)
    talk.leave()
    await talk.end()

    assert service.orchestrator.models() == []
    assert "failed" not in caplog.text
