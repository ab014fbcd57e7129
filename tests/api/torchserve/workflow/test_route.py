"""`/workflows` of the management port: registering, listing, describing, removing."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from api_fakes import handlers
from api_fakes.torchserve import DIAMOND, MakeMar, MakeWar, Serve, Served


LINE = "models: {m: {url: a.mar}}\ndag: {start: [m]}\n"


def said(text: str, status: int = 200) -> tuple[int, object]:
    """Give what an answer by a sentence is."""
    return status, {"status": text}


def failed(status: int, kind: str, message: str) -> tuple[int, object]:
    """Give what an error is."""
    return status, {"code": status, "type": kind, "message": message}


def told(answer: httpx.Response) -> tuple[int, object]:
    """Give status and document."""
    return answer.status_code, answer.json()


async def post(served: Served, url: str, **parameters: object) -> httpx.Response:
    """Register a workflow."""
    return await served.management.post("/workflows", params={"url": url, **parameters})


async def models(served: Served) -> list[str]:
    """Name the models of the native API, and with them the functions."""
    answer = await served.inference.get("/api/models")
    return sorted(each["name"] for each in answer.json()["items"])


@pytest.fixture
async def server(serve: Serve, make_mar: MakeMar, make_war: MakeWar) -> Served:
    """Give a server without models, whose store has two archives and a workflow of both."""
    make_mar("a.mar", "a")
    make_mar("b.mar", "b", version="2.3")
    make_war("w", DIAMOND)
    return await serve()


async def test_registers_an_archive(server: Served) -> None:
    """Nodes become models of the registry, the dag a workflow of it; the native API shows both."""
    assert told(await post(server, "w.war")) == said(
        "Workflow w has been registered and scaled successfully."
    )
    assert await models(server) == ["w__agg", "w__m1", "w__m2", "w__pre"]
    workflow = (await server.inference.get("/api/workflows/w")).json()
    assert (workflow["name"], workflow["version"]) == ("w", 1)
    assert (await server.inference.get("/ping")).status_code == 200


async def test_lists_models_and_no_functions(server: Served) -> None:
    """Functions are hidden there, and yet can be described and asked, as in TorchServe."""
    await post(server, "w.war")
    listed = (await server.management.get("/models")).json()
    function = (await server.management.get("/models/w__pre")).json()[0]
    model = (await server.management.get("/models/w__m2")).json()[0]

    assert listed == {
        "models": [
            {"modelName": "w__m1", "modelUrl": "a.mar"},
            {"modelName": "w__m2", "modelUrl": "b.mar"},
        ]
    }
    assert "modelUrl" not in function
    assert (function["modelVersion"], function["minWorkers"], function["maxBatchDelay"]) == (
        *("1.0", 1),
        0,
    )
    assert (model["modelVersion"], model["minWorkers"], model["maxWorkers"]) == ("2.3", 2, 2)
    assert (model["batchSize"], model["maxBatchDelay"]) == (4, 200)
    assert (await server.inference.post("/predictions/w__pre")).status_code == 200


async def test_describes_a_workflow(server: Served) -> None:
    """By the workflow's own settings, and the dag as Java writes maps; a version is let be."""
    await post(server, "w.war")
    expected = {
        "workflowName": "w",
        "workflowUrl": "w.war",
        "minWorkers": 1,
        "maxWorkers": 4,
        "batchSize": 4,
        "maxBatchDelay": 200,
        "workflowDag": "{pre=[m1, m2], m1=[agg], m2=[agg]}",
    }
    answer = await server.management.get("/workflows/w")

    assert answer.json() == [expected]
    assert list(answer.json()[0]) == list(expected)
    assert (await server.management.get("/workflows/w/7.1")).json() == [expected]


async def test_lists_workflows_by_pages(server: Served, make_war: MakeWar) -> None:
    """By name; more than are asked for have a token, as models have."""
    make_war("line", LINE)
    for name in ("y", "x"):
        await post(server, "line.war", workflow_name=name)
    get = server.management.get
    entries = [{"workflowName": name, "workflowUrl": "line.war"} for name in ("x", "y")]

    assert (await get("/workflows")).json() == {"workflows": entries}
    assert (await get("/workflows?limit=1")).json() == {
        "nextPageToken": "1",
        "workflows": entries[:1],
    }
    assert (await get("/workflows?limit=1&next_page_token=1")).json() == {"workflows": entries[1:]}
    assert (await get("/workflows?limit=-1&next_page_token=x")).json() == {"workflows": entries}
    assert (await get("/workflows?limit=0")).json() == {"nextPageToken": "0", "workflows": []}


async def test_removes_a_workflow(server: Served) -> None:
    """With all its models; then it can be registered again."""
    await post(server, "w.war")
    gone = await server.management.delete("/workflows/w")
    again = await server.management.delete("/workflows/w")

    assert told(gone) == said('Workflow "w" unregistered')
    assert told(again) == failed(404, "WorkflowNotFoundException", "Workflow not found: w")
    assert await models(server) == []
    assert (await server.management.get("/models")).json() == {"models": []}
    assert (await server.inference.get("/api/workflows")).json()["items"] == []
    assert (await post(server, "w.war")).status_code == 200


async def test_takes_a_name_and_json(server: Served) -> None:
    """From the query or from a JSON body, on which TorchServe's workers never start."""
    body = {"url": "w.war", "workflow_name": "x", "response_timeout": "7", "startup_timeout": 9}
    answer = await server.management.post("/workflows", json=body)
    model = (await server.management.get("/models/x__m1")).json()[0]

    assert told(answer) == said("Workflow x has been registered and scaled successfully.")
    assert (model["responseTimeout"], model["startupTimeout"]) == (7, 9)
    assert told(await post(server, "w.war", workflow_name="")) == said(
        "Workflow w has been registered and scaled successfully."
    )


async def test_needs_no_model_api(serve: Serve, make_war: MakeWar) -> None:
    """Workflows are registered where models may not be, as in TorchServe."""
    server = await serve(enable_model_api=False)
    make_war("f", "models: {}\ndag: {start: []}\n")

    assert (await post(server, "f.war")).status_code == 200
    assert (await server.management.delete("/workflows/f")).status_code == 200


async def test_has_a_store_of_its_own(serve: Serve, make_war: MakeWar) -> None:
    """Where one is given; the archives of models are in the model store all the same."""
    path = make_war("f", "models: {}\ndag: {start: []}\n")
    store = path.parent.parent / "workflows"
    store.mkdir()
    path.rename(store / "g.war")
    server = await serve(workflow_store=store)

    assert told(await post(server, "f.war"))[0] == 404
    assert (await post(server, "g.war")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[(method, "/workflows") for method in ("PUT", "DELETE", "OPTIONS")],
        *[(method, "/workflows/w") for method in ("PUT", "POST", "OPTIONS")],
    ],
)
async def test_refuses_other_methods(serve: Serve, method: str, path: str) -> None:
    """Whether there is such a workflow or not."""
    server = await serve()
    message = "Requested method is not allowed, please refer to API document."
    answer = await server.management.request(method, path)

    assert told(answer) == failed(405, "MethodNotAllowedException", message)


@pytest.mark.parametrize(
    ("query", "status", "kind", "message"),
    [
        ("", 400, "BadRequestException", "Parameter url is required."),
        ("?url=", 404, "WorkflowNotFoundException", "Workflow not found at: "),
        (
            "?url=gone.war",
            *(404, "WorkflowNotFoundException", "Workflow not found in workflow store: gone.war"),
        ),
        (
            "?url=../w.war",
            *(404, "WorkflowNotFoundException", "Relative path is not allowed in url: ../w.war"),
        ),
        (
            "?url=http://127.0.0.1:1/x.war",
            *(400, "DownloadArchiveException"),
            "Failed to download archive from: http://127.0.0.1:1/x.war",
        ),
        ("?url=http://127.0.0.1:1/w.war", 500, "FileAlreadyExistsException", "w.war"),
    ],
)
async def test_refuses_archives_that_are_not_there(
    server: Served, query: str, status: int, kind: str, message: str
) -> None:
    """In TorchServe's words; hosts of the own network need `allowed_urls`, as for models."""
    answer = await server.management.post(f"/workflows{query}")

    assert told(answer) == failed(status, kind, message)
    missing = await server.management.get("/workflows/none")
    assert told(missing) == failed(404, "WorkflowNotFoundException", "Workflow not found: none")


async def test_refuses_a_second_one(server: Served) -> None:
    """While the first is being registered, too; of two at once, one is there in the end."""
    first, second = await asyncio.gather(post(server, "w.war"), post(server, "w.war"))
    refused = failed(409, "ConflictStatusException", "Workflow w is already registered.")

    assert sorted([first.status_code, second.status_code]) == [200, 409]
    assert refused in (told(first), told(second))
    assert told(await post(server, "w.war")) == refused


async def test_refuses_the_name_of_a_native_workflow(server: Served, make_war: MakeWar) -> None:
    """One registry has one workflow of a name, whichever API has registered it."""
    await post(server, "w.war")
    native = "name: x\nnodes: {n: {model: w__m1}}\noutputs: {o: '{{ n.body }}'}\n"
    registered = await server.management.post("/api/workflows", content=native)
    assert registered.status_code == 201
    make_war("x", "models: {}\ndag: {start: []}\n")

    assert told(await post(server, "x.war")) == failed(
        409, "ConflictStatusException", "Workflow x is already registered."
    )


async def test_keeps_models_that_others_need(server: Served) -> None:
    """Nothing of it is removed then; once the other is gone, all is."""
    await post(server, "w.war")
    native = "name: x\nnodes: {n: {model: w__m1}}\noutputs: {o: '{{ n.body }}'}\n"
    await server.management.post("/api/workflows", content=native)
    refused = await server.management.delete("/workflows/w")

    message = "The models of workflow w are used by x@1. Remove that first."
    assert told(refused) == failed(409, "ConflictStatusException", message)
    assert (await server.inference.post("/wfpredict/w", content=b"x")).status_code == 200
    await server.management.delete("/api/workflows/x")
    assert (await server.management.delete("/workflows/w")).status_code == 200


async def test_keeps_a_node_in_use(server: Served) -> None:
    """TorchServe lets it be removed, and the workflow fails from then on."""
    await post(server, "w.war")
    refused = await server.management.delete("/models/w__m1")

    assert refused.status_code == 409
    assert (await server.inference.post("/wfpredict/w", content=b"x")).status_code == 200


async def test_notices_a_removal_by_the_native_api(server: Served) -> None:
    """The models go with it, and TorchServe's API knows neither any more."""
    await post(server, "w.war")
    assert (await server.management.delete("/api/workflows/w")).status_code < 300

    assert (await server.management.get("/workflows")).json() == {"workflows": []}
    assert (await server.inference.post("/wfpredict/w")).status_code == 404
    assert (await server.management.get("/models")).json() == {"models": []}
    assert await models(server) == []
    assert (await post(server, "w.war")).status_code == 200


async def test_is_not_there_while_it_loads(
    server: Served, make_mar: MakeMar, make_war: MakeWar
) -> None:
    """It shows once all of it serves."""
    make_mar("slow.mar", "slow")
    make_war("s", "models: {m: {url: slow.mar}}\ndag: {m: []}\n")
    registering = asyncio.create_task(post(server, "s.war"))
    assert await asyncio.to_thread(handlers.begun.wait, 30)
    before = await server.management.get("/workflows")
    missing = await server.management.get("/workflows/s")
    handlers.release.set()

    assert (before.json(), missing.status_code) == ({"workflows": []}, 404)
    assert (await registering).status_code == 200
