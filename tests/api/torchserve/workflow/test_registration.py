"""Workflow archives that do not serve: what is said of them, and that nothing of them is left."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from api_fakes.torchserve import MakeMar, MakeWar, Serve, Served


#: What is said of a node whose archive cannot be had.
NODE_FAILED = "Workflow Node w__m failed to register. Details:"


async def post(served: Served, url: str, **parameters: object) -> httpx.Response:
    """Register a workflow."""
    return await served.management.post("/workflows", params={"url": url, **parameters})


async def assert_nothing_is_left(served: Served, *, but: str = "noop") -> None:
    """Look everywhere that a half workflow could show."""
    there = served.frontend.service.orchestrator.models()
    assert [each.deployment.name for each in there] == [but]
    assert (await served.inference.get("/api/workflows")).json()["items"] == []
    assert (await served.management.get("/workflows")).json() == {"workflows": []}
    names = [
        each["modelName"] for each in (await served.management.get("/models")).json()["models"]
    ]
    assert names == [but]
    served.frontend.service.orchestrator.check()


def names_in(folder: Path) -> list[str]:
    """Name what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("models", "failures"),
    [
        (
            "m: {url: gone.mar}",
            ["Workflow Node w__m failed to register. Details: Model not found at: gone.mar"],
        ),
        ("m: {url: broken.mar}", ["Failed to start workers for model w__m version: 1.0"]),
        (
            "m: {url: gone.mar}, o: {url: broken.mar}",
            [
                "Workflow Node w__m failed to register. Details: Model not found at: gone.mar",
                "Failed to start workers for model w__o version: 1.0",
            ],
        ),
        (
            "m: {url: '../a.mar'}",
            [f"{NODE_FAILED} Relative path is not allowed in url: ../a.mar"],
        ),
    ],
)
async def test_tells_every_node_that_failed(
    served: Served, make_mar: MakeMar, make_war: MakeWar, models: str, failures: list[str]
) -> None:
    """Nodes that were loaded go again, functions included; mended, it can be registered."""
    make_mar("broken.mar", "broken")
    text = f"models: {{{models}, good: {{url: noop.mar}}}}\ndag: {{start: [m, o, good]}}\n"
    make_war("w", text.replace("m, o, good", "m, o, good" if " o: " in models else "m, good"))
    answer = await post(served, "w.war")

    message = f"Workflow w has failed to register. Failures: [{', '.join(failures)}]"
    assert (answer.status_code, answer.json()) == (
        500,
        {"code": 500, "type": "WorkflowException", "message": message},
    )
    await assert_nothing_is_left(served)
    make_war("w", "models: {m: {url: noop.mar}}\ndag: {start: [m]}\n")
    assert (await post(served, "w.war")).status_code == 200


async def test_tells_of_a_model_of_its_name(served: Served, make_war: MakeWar) -> None:
    """That stays; the rest of the workflow does not."""
    await served.register("noop.mar", model_name="w__m")
    make_war("w", "models: {m: {url: noop.mar}}\ndag: {start: [m]}\n")
    answer = await post(served, "w.war")

    assert answer.json()["message"] == (
        "Workflow w has failed to register. Failures: [Workflow Node w__m failed to register. "
        "Details: Model version 1.0 is already registered for model w__m]"
    )
    assert (await served.inference.get("/predictions/w__m")).status_code == 200
    await served.management.delete("/models/w__m")
    await assert_nothing_is_left(served)


@pytest.mark.parametrize(
    ("dag", "message"),
    [
        ("{a: [a]}", "Self loop exception"),
        ("{a: [c], b: [c]}", "DAG should have only one start node"),
        ("{a: [b], b: [c], c: [b]}", "Not a valid DAG"),
    ],
)
async def test_refuses_bad_dags(served: Served, make_war: MakeWar, dag: str, message: str) -> None:
    """In TorchServe's words, before anything is loaded."""
    make_war("w", f"models: {{}}\ndag: {dag}\n")
    answer = await post(served, "w.war")

    assert answer.json() == {"code": 400, "type": "InvalidDAGException", "message": message}
    await assert_nothing_is_left(served)


@pytest.mark.parametrize(
    ("specification", "says"),
    [
        ("models: [\n", "workflow.yaml is no YAML"),
        ("dag: {a: []}", "has no `models`"),
        ("models: {batch-size: x}\ndag: {a: []}", "`batch-size: x` is no whole number"),
        (None, "it has no file 'workflow.yaml'"),
    ],
)
async def test_refuses_bad_specifications(
    served: Served, make_war: MakeWar, specification: str | None, says: str
) -> None:
    """TorchServe answers 500 with an error of Java's."""
    make_war("w", specification)
    answer = await post(served, "w.war")

    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidWorkflowException")
    assert says in answer.json()["message"]
    await assert_nothing_is_left(served)


@pytest.mark.parametrize("content", [b"", b"this is no zip", b"PK\x03\x04\x00cut short"])
async def test_refuses_what_is_no_archive(served: Served, store: Path, content: bytes) -> None:
    """Nothing of it is run, and nothing written."""
    (store / "w.war").write_bytes(content)
    answer = await post(served, "w.war")

    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidWorkflowException")
    await assert_nothing_is_left(served)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"../evil.txt": "x"}, "leads out of the archive"),
        ({"/etc/evil": "x"}, "absolute"),
        ({"a\\b": "x"}, "backslash"),
    ],
)
async def test_refuses_archives_that_lead_elsewhere(
    served: Served, make_war: MakeWar, files: dict[str, str], says: str
) -> None:
    """Whole, also where nothing of them would be unpacked: that they hold such names is told."""
    make_war("w", "models: {m: {url: noop.mar}}\ndag: {m: []}\n", files=files)
    answer = await post(served, "w.war")

    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidWorkflowException")
    assert says in answer.json()["message"]
    await assert_nothing_is_left(served)


@pytest.mark.parametrize("name", ["a/b", "a b", "é", "x" * 128])
async def test_refuses_names_that_cannot_be(served: Served, make_war: MakeWar, name: str) -> None:
    """They name models of the registry; TorchServe takes any."""
    make_war("w", "models: {m: {url: noop.mar}}\ndag: {m: []}\n")
    answer = await post(served, "w.war", workflow_name=name)

    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidWorkflowException")
    assert "can be no name" in answer.json()["message"]
    await assert_nothing_is_left(served)


async def test_removes_fetched_files_with_it(
    serve: Serve, make_mar: MakeMar, make_war: MakeWar, store: Path, tmp_path: Path
) -> None:
    """The workflow's archive and those of its models, after a failure and with the workflow."""
    outside = tmp_path / "outside"
    outside.mkdir()
    model = make_mar("m.mar", "m").rename(outside / "m.mar")
    broken = make_mar("broken.mar", "broken").rename(outside / "broken.mar")
    text = f"models: {{m: {{url: '{model.as_uri()}'}}}}\ndag: {{start: [m]}}\n"
    good = make_war("good", text).rename(outside / "good.war")
    bad = make_war("bad", text.replace(model.as_uri(), broken.as_uri())).rename(outside / "bad.war")
    server = await serve()

    assert (await post(server, bad.as_uri())).status_code == 500
    assert names_in(store) == []
    assert (await post(server, good.as_uri())).status_code == 200
    assert names_in(store) == ["good.war", "m.mar"]
    assert (await server.management.delete("/workflows/good")).status_code == 200
    assert names_in(store) == []


@pytest.fixture
def war_elsewhere(make_mar: MakeMar, make_war: MakeWar, tmp_path: Path) -> Path:
    """Give a workflow's archive that lies outside of any store, with its model in its own."""
    make_mar("m.mar", "m")
    war = make_war("w", "models: {m: {url: m.mar}}\ndag: {start: [m]}\n")
    return war.rename(tmp_path / "w.war")


async def test_fetches_into_a_store_that_nobody_has_made(
    serve: Serve, war_elsewhere: Path, tmp_path: Path
) -> None:
    """The configuration of TorchServe's own image names one."""
    server = await serve(workflow_store=tmp_path / "wf-store")

    assert (await post(server, "w.war")).status_code == 404
    assert (await post(server, war_elsewhere.as_uri())).status_code == 200
    assert names_in(tmp_path / "wf-store") == ["w.war"]


async def test_tells_that_it_cannot_make_the_store(
    serve: Serve, war_elsewhere: Path, tmp_path: Path
) -> None:
    """A file that came in its place is no archive that is there already."""
    server = await serve(workflow_store=tmp_path / "wf-store")
    (tmp_path / "wf-store").write_text("")

    answer = await post(server, war_elsewhere.as_uri())
    assert answer.status_code == 400
    assert answer.json()["message"] == f"Failed to download archive from: {war_elsewhere.as_uri()}"


async def test_is_no_part_of_snapshots(served: Served, make_war: MakeWar) -> None:
    """TorchServe keeps no workflows over a restart: none is told of."""
    changes: list[str] = []
    served.frontend.catalog.on_change = lambda: changes.append("one")
    make_war("w", "models: {m: {url: noop.mar}}\ndag: {start: [m]}\n")
    await post(served, "w.war")
    await served.management.delete("/workflows/w")

    assert changes == []
