"""The OpenAPI document and the page that shows it."""

from __future__ import annotations

import httpx
import jsonschema_rs
import msgspec
import pytest
from api_fakes.documents import ECHO, SAY, STREAM, Register


async def fetch(client: httpx.AsyncClient) -> dict[str, dict[str, dict[str, object]]]:
    """Fetch the document."""
    return (await client.get("/api/docs/openapi.json")).json()


async def test_shows_each_workflow_with_its_own_schemas(
    client: httpx.AsyncClient, register: Register
) -> None:
    """A workflow has a path with the schema of its inputs and outputs."""
    await register(ECHO, SAY)
    operation = (await fetch(client))["paths"]["/api/workflows/say/runs"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]

    assert body["properties"]["value"] == {"type": "string", "minLength": 1, "maxLength": 100}
    assert body["required"] == ["value"]
    assert body["additionalProperties"] is False
    assert operation["summary"] == "Says it back."
    assert "text/event-stream" in operation["responses"]["200"]["content"]
    assert {p["name"] for p in operation["parameters"]} == {
        "X-Request-Timeout",
        "X-Priority",
        "background",
    }


async def test_follows_workflows_as_they_come_and_go(
    client: httpx.AsyncClient, register: Register
) -> None:
    """The document is of this moment: versions appear and vanish with their workflows."""
    before = (await fetch(client))["paths"]
    await register(ECHO, SAY, SAY.replace("version: 1", "version: 2"))
    during = (await fetch(client))["paths"]
    await client.delete("/api/workflows/say@1")
    await client.delete("/api/workflows/say@2")
    after = (await fetch(client))["paths"]

    assert {"/api/workflows/say/runs", "/api/workflows/say@1/runs"} <= during.keys()
    assert "/api/models/echo/predict" in during
    assert not any("say" in path for path in (*before, *after))


async def test_answers_fit_the_document(client: httpx.AsyncClient, register: Register) -> None:
    """What a workflow answers fits the schema that the document gives it."""
    await register(ECHO, SAY)
    operation = (await fetch(client))["paths"]["/api/workflows/say/runs"]["post"]
    responses = operation["responses"]
    answer = await client.post("/api/workflows/say/runs", json={"value": "x"})
    problem = await client.post("/api/workflows/say/runs", json={})

    jsonschema_rs.validate(responses["200"]["content"]["application/json"]["schema"], answer.json())
    jsonschema_rs.validate(
        responses["default"]["content"]["application/problem+json"]["schema"], problem.json()
    )


async def test_is_a_document_of_openapi_3_1(client: httpx.AsyncClient, register: Register) -> None:
    """It says its version, and every operation has an id of its own and tells its problems."""
    await register(ECHO, SAY, STREAM)
    document = await fetch(client)
    operations = [op for item in document["paths"].values() for op in item.values()]
    names = [operation["operationId"] for operation in operations]

    assert str(document["openapi"]).startswith("3.1")
    assert len(set(names)) == len(names)
    assert all("default" in operation["responses"] for operation in operations)


async def test_tells_the_bodies_that_are_read_by_hand(client: httpx.AsyncClient) -> None:
    """Routes that Litestar does not parse for have their bodies in the document too."""
    paths = (await fetch(client))["paths"]

    for method, path in (
        ("post", "/api/workflows"),
        ("post", "/api/workflows:check"),
        ("put", "/api/workflows/{label}"),
        ("post", "/api/models"),
        ("patch", "/api/models/{label}"),
        ("put", "/api/models/{label}/traffic"),
        ("put", "/api/workflows/{label}/traffic"),
        ("post", "/api/workflows/{label}/runs"),
        ("post", "/api/models/{label}/predict"),
    ):
        assert paths[path][method]["requestBody"]["content"]


async def test_comes_as_yaml_too(client: httpx.AsyncClient) -> None:
    """The YAML says the same as the JSON."""
    text = (await client.get("/api/docs/openapi.yaml")).content

    assert msgspec.yaml.decode(text) == await fetch(client)


async def test_is_not_broken_by_what_users_write(
    client: httpx.AsyncClient, register: Register
) -> None:
    """A description with markup in it stays text."""
    await register(ECHO, SAY.replace("Says it back.", "'</script><script>alert(1)</script>'"))
    document = await fetch(client)

    assert "</script>" in document["paths"]["/api/workflows/say/runs"]["post"]["summary"]
    assert "alert(1)" not in (await client.get("/api/docs")).text


@pytest.mark.parametrize("file", ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"])
async def test_loads_nothing_from_elsewhere(client: httpx.AsyncClient, file: str) -> None:
    """The page names no other host, and each file that it names is served here."""
    page = await client.get("/api/docs")

    assert page.headers["content-type"].startswith("text/html")
    assert "//" not in page.text
    assert f"/api/docs/assets/{file}" in page.text
    assert (await client.get(f"/api/docs/assets/{file}")).status_code == 200


@pytest.mark.parametrize("path", ["../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "nothing.js"])
async def test_serves_no_other_files(client: httpx.AsyncClient, path: str) -> None:
    """No path leads out of the folder of the page's files."""
    response = await client.get(f"/api/docs/assets/{path}")

    assert response.status_code == 404
