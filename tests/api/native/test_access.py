"""Which routes ask for a key, and for which."""

from __future__ import annotations

import hashlib

import httpx
import pytest
from api_fakes.documents import ECHO, SAY, WRITER, Register

from torchloom_api.key_ring import ApiKey, KeyRing
from torchloom_api.service import Service


YAML = {"content-type": "application/yaml"}

#: A call of each kind, and the scopes that will do.
CALLS = [
    ("POST", "/api/workflows/say/runs", {"inference"}),
    ("POST", "/api/models/echo/predict", {"inference"}),
    ("POST", "/api/models/echo/predict/", {"inference"}),
    ("POST", "/v1/chat/completions", {"inference"}),
    ("POST", "/v1/completions", {"inference"}),
    ("POST", "/v1/embeddings", {"inference"}),
    ("POST", "/v1/responses", {"inference"}),
    ("POST", "/v1/images/generations", {"inference"}),
    ("POST", "/v1/rerank", {"inference"}),
    ("DELETE", "/api/runs/x", {"inference"}),
    ("GET", "/v1/models", {"inference", "management"}),
    ("GET", "/v1/models/writer", {"inference", "management"}),
    ("GET", "/api/runs", {"inference", "management"}),
    ("GET", "/api/devices", {"inference", "management"}),
    ("GET", "/api/workflows/say", {"inference", "management"}),
    ("POST", "/api/models", {"management"}),
    ("POST", "/api/workflows:check", {"management"}),
    ("PATCH", "/api/models/echo", {"management"}),
    ("DELETE", "/api/workflows/nothing", {"management"}),
    ("GET", "/metrics", {"metrics"}),
]

OPEN = [
    "/api/health/live",
    "/api/health/ready",
    "/api/health/startup",
    "/api/docs",
    "/api/docs/openapi.json",
    "/api/docs/assets/swagger-ui.css",
]


@pytest.fixture
async def guarded(service: Service, register: Register) -> Service:
    """Give the service a key for each scope, of the scope's name."""
    await register(ECHO, SAY, WRITER)
    service.keys = KeyRing(
        ApiKey(
            name=scope, digest=hashlib.sha256(scope.encode()).digest(), scopes=frozenset({scope})
        )
        for scope in ("inference", "management", "metrics")
    )
    return service


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(("method", "path", "scopes"), CALLS)
async def test_asks_for_a_key_with_the_scope(
    client: httpx.AsyncClient, method: str, path: str, scopes: set[str]
) -> None:
    """401 without one or with a wrong one, 403 with another's, in the shape of the API."""
    bare = await client.request(method, path)
    wrong = await client.request(method, path, headers={"authorization": "Bearer nonsense"})

    for answer in (bare, wrong):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "nonsense" not in answer.text
        assert answer.headers["x-request-id"]
    for scope in ("inference", "management", "metrics"):
        answer = await client.request(method, path, headers={"authorization": f"Bearer {scope}"})
        assert (answer.status_code == 403) == (scope not in scopes), (scope, answer.text)
        assert answer.status_code != 401
        if answer.status_code == 403:
            assert " or ".join(sorted(scopes)) in answer.text
            assert "www-authenticate" not in answer.headers
    if path.startswith("/v1/"):
        assert bare.json()["error"]["code"] == "invalid_api_key"
    else:
        assert bare.headers["content-type"] == "application/problem+json"
        assert bare.json()["type"] == "urn:torchloom:key-refused"


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("path", OPEN)
async def test_leaves_health_and_documents_open(client: httpx.AsyncClient, path: str) -> None:
    """Probes carry no key; the page must load before one can be written into it."""
    assert (await client.get(path, follow_redirects=True)).status_code == 200


async def test_describes_the_scheme_and_names_nothing_to_strangers(
    client: httpx.AsyncClient, guarded: Service
) -> None:
    """Without a key the document has the API and none of what is registered."""
    place = "/api/docs/openapi.json"
    stranger = (await client.get(place)).json()
    known = (await client.get(place, headers={"x-api-key": "inference"})).json()
    guarded.keys = KeyRing()
    unguarded = (await client.get(place)).json()

    assert known["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert known["security"] == [{"key": []}]
    assert known["paths"]["/api/health/live"]["get"]["security"] == []
    assert "security" not in known["paths"]["/api/models"]["get"]
    assert "/api/workflows/say/runs" in known["paths"]
    assert "/api/workflows/say/runs" not in stranger["paths"]
    assert "/api/models/echo/predict" not in stranger["paths"]
    assert "/api/workflows" in stranger["paths"]
    assert "security" not in unguarded
    assert "/api/workflows/say/runs" in unguarded["paths"]


@pytest.mark.usefixtures("guarded")
async def test_reads_no_body_of_strangers(client: httpx.AsyncClient) -> None:
    """A key comes before everything that a body may be wrong in."""
    answer = await client.post("/v1/chat/completions", content=b"{")

    assert answer.status_code == 401
