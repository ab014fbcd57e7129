"""`/wfpredict` of the inference port: what nodes see, what leaves give, and what fails."""

from __future__ import annotations

import asyncio
import json

import httpx
import msgspec
import pytest
from api_fakes import handlers
from api_fakes.torchserve import MakeWar, Serve, Served

from torchloom_api.torchserve.frontend import Predicted


class Seen(msgspec.Struct, frozen=True):
    """What a node shows of itself. An input is tagged: `bytes`, or a `value` that was read."""

    inputs: dict[str, tuple[str, object]]
    params: dict[str, dict[str, object]]
    model: tuple[str, str]
    config: dict[str, str]

    def before(self, name: str = "body") -> Seen:
        """Read what a node before it has given, which came as bytes."""
        tag, text = self.inputs[name]
        assert tag == "bytes"
        return msgspec.json.decode(str(text), type=Seen)


async def register(served: Served, name: str) -> None:
    """Register a workflow."""
    answer = await served.management.post("/workflows", params={"url": f"{name}.war"})
    assert answer.status_code == 200, answer.text


@pytest.fixture
async def line(served: Served, make_war: MakeWar) -> Served:
    """Give a server of a workflow of two nodes after each other."""
    make_war("line", "models: {m: {url: noop.mar}}\ndag: {m: [start]}\n")
    await register(served, "line")
    return served


@pytest.fixture
async def diamond(served: Served, make_war: MakeWar) -> Served:
    """Give a server of a workflow of four nodes, two of them beside each other."""
    models = "models: {left: {url: noop.mar}, right: {url: noop.mar}}\n"
    make_war("diamond", f"{models}dag: {{start: [right, left], left: [join], right: [join]}}\n")
    await register(served, "diamond")
    return served


def seen(answer: httpx.Response) -> Seen:
    """Read what the last node has seen."""
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=Seen)


async def test_tells_those_who_watch_of_each_node(line: Served) -> None:
    """How long it waited and ran, as a node's and no request's."""
    told: list[Predicted] = []
    line.frontend.on_predicted.append(told.extend)
    await line.inference.post("/wfpredict/line", content=b"x")

    assert [(each.model, each.number, each.is_of_node) for each in told] == [
        ("line__m", 1, True),
        ("line__start", 1, True),
    ]
    assert all(each.queue_s is not None and each.run_s is not None for each in told)


async def test_gives_the_answer_of_the_last_node(line: Served) -> None:
    """Its bytes, whatever they are called JSON; each node is told the headers of the request."""
    answer = await line.inference.post(
        "/wfpredict/line",
        content=b'{"x": 1}',
        headers={"Content-Type": "application/json", "X-Own": "1"},
    )
    assert answer.headers["content-type"] == "application/json"
    assert answer.reason_phrase == "OK"
    last = seen(answer)
    first = last.before()

    assert last.model == ("line__start", "1.0")
    assert last.config == {"handler": "functions:start"}
    assert set(last.inputs) == {"body"}
    assert first.inputs == {"body": ("value", {"x": 1})}
    assert first.params["content_types"] == {"body": "application/json"}
    assert last.params["headers"] == first.params["headers"]
    assert last.params["headers"]["X-Own"] == "1"


async def test_gives_forms_to_the_first_node(line: Served) -> None:
    """As `/predictions` does; the query is dropped."""
    answer = await line.inference.post("/wfpredict/line?q=1", data={"data": "one", "other": "two"})

    assert seen(answer).before().inputs == {"data": ("bytes", "one"), "other": ("bytes", "two")}


async def test_gives_an_empty_body(line: Served) -> None:
    """A body that is empty is one, and no lack of fields."""
    answer = await line.inference.get("/wfpredict/line")

    assert seen(answer).before().inputs == {"body": ("bytes", "")}


async def test_joins_by_name(diamond: Served) -> None:
    """A node that comes after several finds each one's bytes under its name."""
    last = seen(await diamond.inference.post("/wfpredict/diamond", content=b"x"))

    assert list(last.inputs) == ["left", "right"]
    assert last.before("left").model == ("diamond__left", "1.0")
    assert last.before("right").model == ("diamond__right", "1.0")


async def test_answers_any_method_and_what_follows(diamond: Served) -> None:
    """OPTIONS too, and whatever stands behind the name."""
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        answer = await diamond.inference.request(method, "/wfpredict/diamond")
        assert seen(answer).model == ("diamond__join", "1.0")
    assert (await diamond.inference.get("/wfpredict/diamond/1.0/x")).status_code == 200


async def test_refuses_what_is_not_there(served: Served) -> None:
    """In TorchServe's words."""
    missing = await served.inference.get("/wfpredict/none")
    nameless = await served.inference.get("/wfpredict/")

    assert missing.json() == {
        "code": 404,
        "type": "WorkflowNotFoundException",
        "message": "Workflow not found: none",
    }
    assert (nameless.status_code, nameless.json()["type"]) == (404, "ResourceNotFoundException")


async def test_gives_several_leaves_by_name(served: Served, make_war: MakeWar) -> None:
    """As one JSON object: what is JSON as such, what is none as text, or in base64."""
    make_war("leaves", "models: {}\ndag: {start: [one, a-b]}\n")
    await register(served, "leaves")
    headers = {"do": "at leaves__one body 3"}
    answer = await served.inference.post("/wfpredict/leaves", headers=headers)
    values = answer.json()

    assert list(values) == ["one", "a-b"]
    assert values["one"] == "xxx"
    assert values["a-b"]["model"] == ["leaves__a-b", "1.0"]
    assert answer.content.startswith(b'{\n  "one"')


@pytest.mark.parametrize("do", ["raise", "memory", "own 418", "plain-failure"])
async def test_names_the_node_that_failed(diamond: Served, do: str) -> None:
    """Whatever its handler has said, its status included; the next request is answered."""
    headers = {"do": f"at diamond__left {do}"}
    answer = await diamond.inference.post("/wfpredict/diamond", headers=headers)

    assert (answer.status_code, answer.json()) == (
        500,
        {"code": 500, "type": "InternalServerException", "message": "Error executing left"},
    )
    assert (await diamond.inference.post("/wfpredict/diamond")).status_code == 200


async def test_lets_a_node_choose_no_status(line: Served) -> None:
    """Status, phrase and headers of nodes are dropped, the last one's too."""
    headers = {"do": "at line__start status 418"}
    answer = await line.inference.post("/wfpredict/line", headers=headers)

    assert (answer.status_code, answer.reason_phrase, answer.content) == (200, "OK", b"teapot")
    headers = {"do": "at line__start headers"}
    answer = await line.inference.post("/wfpredict/line", headers=headers)
    assert "x-own" not in answer.headers
    assert answer.headers["content-type"] == "application/json"


async def test_tries_again(served: Served, make_war: MakeWar) -> None:
    """As often as the specification says, after the first."""
    make_war("r", "models: {retry-attempts: 2, m: {url: noop.mar}}\ndag: {m: []}\n")
    await register(served, "r")
    answer = await served.inference.post("/wfpredict/r", headers={"do": "raise"})

    assert answer.json()["message"] == "Error executing m"
    (run,) = served.frontend.service.orchestrator.runs()
    retries = [event.data async for event in run.events() if event.type == "node.retried"]
    assert [each["attempt"] for each in retries] == [2, 3]


async def test_waits_no_longer_than_it_may(served: Served, make_war: MakeWar) -> None:
    """A node that hangs is a failure; other models and workflows answer."""
    make_war("t", "models: {timeout-ms: 50, m: {url: noop.mar}}\ndag: {m: []}\n")
    await register(served, "t")
    answer = await served.inference.post("/wfpredict/t", headers={"do": "hang"})

    assert (answer.status_code, answer.json()["message"]) == (500, "Error executing m")
    handlers.release.set()
    assert (await served.inference.post("/wfpredict/t")).status_code == 200


async def test_says_that_a_node_has_no_worker(served: Served, make_war: MakeWar) -> None:
    """In the words of a model without workers, and as a failure of the server."""
    make_war("z", "models: {max-workers: 0, m: {url: noop.mar}}\ndag: {m: []}\n")
    await register(served, "z")
    answer = await served.inference.post("/wfpredict/z")

    assert (answer.status_code, answer.json()["type"]) == (500, "InternalServerException")
    assert answer.json()["message"].startswith('Model "z__m" has no worker to serve inference')


async def test_tells_of_a_full_queue(serve: Serve, make_war: MakeWar) -> None:
    """By 429 and when to come again, where the switch is on."""
    server = await serve(job_queue_size=1, queue_full_429=True)
    make_war("q", "models: {}\ndag: {start: []}\n")
    await register(server, "q")
    asked = [
        asyncio.create_task(server.inference.post("/wfpredict/q", headers={"do": "hang"}))
        for _ in range(4)
    ]
    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    refused = done.pop().result()
    handlers.release.set()
    await asyncio.gather(*asked)

    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1


async def test_gives_up_for_a_client_that_leaves(served: Served, make_war: MakeWar) -> None:
    """Down to the engine."""
    make_war("e", "models: {m: {url: noop.mar}}\ndag: {m: []}\n")
    await register(served, "e")
    asking = asyncio.create_task(served.inference.post("/wfpredict/e", headers={"do": "endless"}))
    assert await asyncio.to_thread(handlers.begun.wait, 30)
    asking.cancel()
    assert await asyncio.to_thread(handlers.cancelled.wait, 30)

    (run,) = served.frontend.service.orchestrator.runs()
    await run.wait()
    assert run.state.value == "cancelled"


async def test_refuses_answers_that_are_too_large(serve: Serve, make_war: MakeWar) -> None:
    """As a failure of the node that gave it."""
    server = await serve(max_response_size=10)
    make_war("b", "models: {}\ndag: {start: []}\n")
    await register(server, "b")
    answer = await server.inference.post("/wfpredict/b", headers={"do": "body 11"})

    assert (answer.status_code, answer.json()["message"]) == (500, "Error executing start")
    fits = await server.inference.post("/wfpredict/b", headers={"do": "body 10"})
    assert fits.content == b"x" * 10


async def test_is_run_by_the_native_api(diamond: Served) -> None:
    """With `body` as its input; runs of either API are in the history of both."""
    answer = await diamond.inference.post("/api/workflows/diamond/runs", json={"body": "x"})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()["outputs"]) == {"join", "bodies"}
    await diamond.inference.post("/wfpredict/diamond", content=b"x")
    runs = (await diamond.inference.get("/api/runs")).json()["items"]
    assert [each["workflow"] for each in runs] == ["diamond", "diamond"]


async def test_needs_a_token(serve: Serve, make_war: MakeWar) -> None:
    """That of its port, as all else there."""
    server = await serve(disable_token_authorization=False)
    make_war("f", "models: {}\ndag: {start: []}\n")
    keys = json.loads(server.frontend.settings.key_file.read_text())
    own = {
        port: {"Authorization": f"Bearer {keys[port]['key']}"}
        for port in ("inference", "management")
    }
    path = "/workflows?url=f.war"

    assert (await server.management.post(path, headers=own["inference"])).status_code == 400
    assert (await server.management.post(path, headers=own["management"])).status_code == 200
    assert (await server.inference.post("/wfpredict/f")).status_code == 400
    assert (
        await server.inference.post("/wfpredict/f", headers=own["inference"])
    ).status_code == 200
