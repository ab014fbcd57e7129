"""Routes of workflows."""

from __future__ import annotations

import asyncio

import httpx
from api_fakes.documents import ECHO, SAY, STREAM, Register


YAML = {"content-type": "application/yaml"}


async def test_registers_a_workflow(client: httpx.AsyncClient, register: Register) -> None:
    """201 with name, version and graph, and the address; 200 where it was there already."""
    await register(ECHO)
    made = await client.post("/api/workflows", content=SAY, headers=YAML)
    again = await client.post("/api/workflows", content=SAY, headers=YAML)
    view = made.json()

    assert (made.status_code, again.status_code) == (201, 200)
    assert made.headers["location"] == "/api/workflows/say@1"
    assert (view["name"], view["version"], view["state"]) == ("say", 1, "ready")
    assert view["graph"]["edges"] == [["first", "second"]]
    assert view["graph"]["nodes"][1] == {
        "name": "second",
        "call": "model",
        "target": "echo",
        "needs": ["first"],
        "is_foreach": False,
        "live": None,
    }
    assert view["signature"]["required"] == ["value"]
    assert again.json() == view


async def test_takes_json(client: httpx.AsyncClient, register: Register) -> None:
    """A workflow may be sent as JSON."""
    await register(ECHO)
    document = {"name": "j", "inputs": {}, "nodes": {"a": {"model": "echo"}}, "outputs": {}}
    response = await client.post("/api/workflows", json=document)

    assert response.status_code == 201


async def test_tells_every_fault_with_its_line(client: httpx.AsyncClient) -> None:
    """422 with line, column and pointer of each fault; nothing is registered."""
    for path in ("/api/workflows", "/api/workflows:check"):
        response = await client.post(path, content=SAY, headers=YAML)
        problem = response.json()

        assert response.status_code == 422
        assert problem["type"] == "urn:torchloom:invalid-workflow"
        assert [(e["line"], e["pointer"]) for e in problem["errors"]] == [
            (9, "/nodes/first/model"),
            (10, "/nodes/second/model"),
        ]
        assert all(error["column"] > 1 for error in problem["errors"])
    assert (await client.get("/api/workflows")).json()["total"] == 0


async def test_says_where_yaml_is_malformed(client: httpx.AsyncClient) -> None:
    """A file that is no YAML is refused with the place."""
    response = await client.post("/api/workflows", content="name: [\n", headers=YAML)

    assert response.status_code == 422
    assert response.json()["errors"][0]["line"] == 2


async def test_refuses_other_content_under_the_same_version(
    client: httpx.AsyncClient, register: Register
) -> None:
    """409: a version never changes what it is."""
    await register(ECHO, SAY)
    response = await client.post("/api/workflows", content=SAY + "\n# more", headers=YAML)

    assert response.status_code == 409


async def test_puts_a_workflow_at_its_address(
    client: httpx.AsyncClient, register: Register
) -> None:
    """PUT registers what the address names, and nothing else."""
    await register(ECHO)
    made = await client.put("/api/workflows/say", content=SAY, headers=YAML)
    again = await client.put("/api/workflows/say@1", content=SAY, headers=YAML)
    wrong = await client.put("/api/workflows/other", content=SAY, headers=YAML)

    assert (made.status_code, again.status_code, wrong.status_code) == (201, 200, 422)


async def test_checks_without_registering(client: httpx.AsyncClient, register: Register) -> None:
    """A check answers with the graph, and registers nothing."""
    await register(ECHO)
    response = await client.post("/api/workflows:check", content=SAY, headers=YAML)

    assert (response.status_code, response.json()["name"]) == (200, "say")
    assert (await client.get("/api/workflows/say")).status_code == 404


async def test_refuses_forms(client: httpx.AsyncClient) -> None:
    """A registration is the file itself."""
    for path in ("/api/workflows", "/api/models"):
        response = await client.post(path, files={"file": b"name: x"})
        assert response.status_code == 415


async def test_registers_one_of_two_at_the_same_time(
    client: httpx.AsyncClient, register: Register
) -> None:
    """Two different texts of one version at once: one is registered, the other is a conflict."""
    await register(ECHO)
    answers = await asyncio.gather(
        *(
            client.post("/api/workflows", content=SAY + f"\n# {number}", headers=YAML)
            for number in range(4)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_describes_versions(client: httpx.AsyncClient, register: Register) -> None:
    """A name alone means the highest version; a label means that one; others are unknown."""
    await register(ECHO, SAY, SAY.replace("version: 1", "version: 2"))

    assert (await client.get("/api/workflows/say")).json()["version"] == 2
    assert (await client.get("/api/workflows/say@1")).json()["version"] == 1
    assert (await client.get("/api/workflows/say@3")).status_code == 404


async def test_lists_page_by_page(client: httpx.AsyncClient, register: Register) -> None:
    """Lists come in pages, each with the key of the next."""
    await register(ECHO, SAY, STREAM)
    first = (await client.get("/api/workflows?limit=1")).json()
    second = (await client.get("/api/workflows", params={"after": first["next"]})).json()

    assert [item["name"] for item in (*first["items"], *second["items"])] == ["say", "stream"]
    assert (first["total"], second["next"]) == (2, None)


async def test_draws_the_graph(client: httpx.AsyncClient, register: Register) -> None:
    """The graph comes as SVG and as Mermaid."""
    await register(ECHO, SAY)
    svg = await client.get("/api/workflows/say/graph.svg")
    mermaid = await client.get("/api/workflows/say@1/graph.mmd")

    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert "<svg" in svg.text
    assert "first" in svg.text
    assert mermaid.headers["content-type"].startswith("text/plain")
    assert "first" in mermaid.text
    assert (await client.get("/api/workflows/nope/graph.svg")).status_code == 404


async def test_splits_traffic(client: httpx.AsyncClient, register: Register) -> None:
    """Runs without a version are split by weight."""
    await register(ECHO, SAY, SAY.replace("version: 1", "version: 2"))
    response = await client.put("/api/workflows/say/traffic", json={"weights": {"1": 3, "2": 1}})
    runs = [await client.post("/api/workflows/say/runs", json={"value": "x"}) for _ in range(8)]

    assert response.json() == {"name": "say", "weights": {"1": 0.75, "2": 0.25}}
    assert sorted(run.json()["version"] for run in runs) == [1] * 6 + [2] * 2
    assert (await client.get("/api/workflows/say@1")).json()["weight"] == 0.75


async def test_refuses_splits_that_make_no_sense(
    client: httpx.AsyncClient, register: Register
) -> None:
    """Unknown versions and weights without a sum are told by name."""
    await register(ECHO, SAY)
    for body, status in (
        ({"weights": {"1": 0}}, 422),
        ({"weights": {"1": -1}}, 422),
        ({"weights": {}}, 422),
        ({"weights": {"x": 1}}, 422),
        ({"weights": {"1": "much"}}, 422),
        ({"weights": {"9": 1}}, 404),
        ({"wieghts": {"1": 1}}, 422),
        ([], 422),
    ):
        response = await client.put("/api/workflows/say/traffic", json=body)
        assert response.status_code == status, (body, response.text)
    unknown = await client.put("/api/workflows/nope/traffic", json={"weights": {"1": 1}})
    assert unknown.status_code == 404


async def test_removes_a_workflow(client: httpx.AsyncClient, register: Register) -> None:
    """204, and it is gone; what is not there cannot be removed."""
    await register(ECHO, SAY)

    assert (await client.delete("/api/workflows/say")).status_code == 204
    assert (await client.get("/api/workflows/say")).status_code == 404
    assert (await client.delete("/api/workflows/say")).status_code == 404


async def test_shows_why_a_workflow_does_not_serve(client: httpx.AsyncClient) -> None:
    """A registration that failed to load is found, with its state and reason."""
    broken = STREAM.replace("factory: streamer", "factory: broken")
    failed = await client.post("/api/workflows", content=broken, headers=YAML)
    view = (await client.get("/api/workflows/stream")).json()

    assert failed.status_code == 500
    assert "weights are missing" in failed.json()["detail"]
    assert view["state"] == "failed"
    assert "weights are missing" in view["error"]["detail"]
    assert (await client.get("/api/workflows")).json()["total"] == 1
