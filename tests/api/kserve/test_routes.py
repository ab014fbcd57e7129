"""KServe v2 over HTTP: metadata, health, inference, errors."""

from __future__ import annotations

import json
import struct

import httpx
import jsonschema_rs
import numpy as np
import pytest
from api_fakes import text_engines
from api_fakes.conversation import Conversation
from api_fakes.documents import EMBEDDER, WRITER, Register
from api_fakes.turns import turns

from torchloom_api.edge import Edge
from torchloom_api.service import Service


DOUBLER = """
name: doubler
kind: module
factory: doubler
"""

DECLARED = """
name: declared
kind: module
factory: doubler
config: {inputs: {x: {shape: [2], dtype: float32}}}
"""

PAINTER = """
name: painter
kind: diffusion
factory: painter
"""

ENDLESS = """
name: endless
factory: endless
"""


def _input(name: str, datatype: str, shape: list[int], data: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def _x(rows: list[list[float]]) -> dict[str, object]:
    return _input("x", "FP32", [len(rows), len(rows[0])], rows)


async def test_tells_what_it_is(client: httpx.AsyncClient) -> None:
    """Name, version and extensions; health without a key."""
    server = (await client.get("/v2")).json()

    assert server["name"] == "torchloom"
    assert "binary_tensor_data" in server["extensions"]
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}


async def test_is_not_ready_while_it_starts(client: httpx.AsyncClient, service: Service) -> None:
    """503, for the server and for its models."""
    service.is_started = False
    ready = await client.get("/v2/health/ready")
    infer = await client.post("/v2/models/any/infer", json={"inputs": []})

    assert (ready.status_code, ready.json()) == (503, {"ready": False})
    assert infer.status_code == 503
    assert infer.headers["retry-after"]
    assert "starting" in infer.json()["error"]


async def test_describes_models(client: httpx.AsyncClient, register: Register) -> None:
    """Tensors of a model by its kind or declaration; versions; 404 for what there is not."""
    await register(EMBEDDER, EMBEDDER + "version: 3", DECLARED)
    vectors = (await client.get("/v2/models/vectors")).json()
    first = await client.get("/v2/models/vectors/versions/1")

    assert vectors == {
        "name": "vectors",
        "versions": ["1", "3"],
        "platform": "torchloom_embedder",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "embedding", "datatype": "FP32", "shape": [-1, -1]},
            {"name": "usage", "datatype": "BYTES", "shape": [-1]},
        ],
    }
    assert first.status_code == 200
    assert (await client.get("/v2/models")).json() == {"models": ["declared", "vectors"]}
    for path in ("vectors/versions/2", "vectors/versions/x", "vector", "vector/ready"):
        missing = await client.get(f"/v2/models/{path}")
        assert missing.status_code == 404
        assert missing.json()["error"]


async def test_tells_whether_a_model_is_ready(
    client: httpx.AsyncClient, register: Register, service: Service
) -> None:
    """200 with its name, 503 while the server drains."""
    await register(EMBEDDER)
    ready = await client.get("/v2/models/vectors/ready")
    version = await client.get("/v2/models/vectors/versions/1/ready")
    service.orchestrator.is_draining = True
    draining = await client.get("/v2/models/vectors/ready")

    assert (ready.status_code, ready.json()) == (200, {"name": "vectors", "ready": True})
    assert version.status_code == 200
    assert (draining.status_code, "not ready" in draining.json()["error"]) == (503, True)


async def test_answers_an_inference(client: httpx.AsyncClient, register: Register) -> None:
    """The outputs as tensors, with the request's id, and the version that answered."""
    await register(DOUBLER)
    body = {"id": "7", "inputs": [_x([[1, 2], [3, 4], [5, 6]])]}
    answer = await client.post("/v2/models/doubler/infer", json=body)

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "model_name": "doubler",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [3, 2], "data": [2, 4, 6, 8, 10, 12]}
        ],
    }
    shown = (await client.get("/v2/models/doubler")).json()
    assert shown["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert shown["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]


async def test_batches_the_rows_of_a_request(client: httpx.AsyncClient, register: Register) -> None:
    """Each row is a task: the engine gets several at a step."""
    await register(DOUBLER)
    text_engines.sizes.clear()
    answer = await client.post(
        "/v2/models/doubler/infer", json={"inputs": [_x([[float(i)] for i in range(20, 36)])]}
    )

    assert answer.json()["outputs"][0]["data"] == [2.0 * i for i in range(20, 36)]
    assert sum(text_engines.sizes) == 16
    assert max(text_engines.sizes) == 8


async def test_takes_more_rows_than_the_queue_holds(
    client: httpx.AsyncClient, register: Register
) -> None:
    """Rows of one request wait for each other; they do not fill the queue against themselves."""
    await register(DOUBLER + "queue: 4")
    body = {"inputs": [_x([[float(i)] for i in range(20, 120)])]}
    answer = await client.post("/v2/models/doubler/infer", json=body)

    assert answer.json()["outputs"][0]["shape"] == [100, 1]


async def test_asks_one_version(client: httpx.AsyncClient, register: Register) -> None:
    """By the path; another that there is not is 404."""
    await register(DOUBLER, DOUBLER + "version: 2")
    body = {"inputs": [_x([[1.0]])]}
    first = await client.post("/v2/models/doubler/versions/1/infer", json=body)
    missing = await client.post("/v2/models/doubler/versions/9/infer", json=body)

    assert first.json()["model_version"] == "1"
    assert missing.status_code == 404


async def test_asks_a_language_model(client: httpx.AsyncClient, register: Register) -> None:
    """A prompt a row; parameters are the model's own, and checked as such."""
    await register(WRITER)
    body = {
        "inputs": [_input("prompt", "BYTES", [2], ["one two three", "four"])],
        "parameters": {"max_tokens": 2},
    }
    answer = (await client.post("/v2/models/writer/infer", json=body)).json()
    outputs = {each["name"]: each["data"] for each in answer["outputs"]}
    wrong = await client.post(
        "/v2/models/writer/infer", json={**body, "parameters": {"max_token": 2}}
    )

    assert outputs["text"] == ["one two ", "four "]
    assert outputs["finish_reason"] == ["length", "stop"]
    assert json.loads(outputs["usage"][1])["completion"] == 1
    assert (wrong.status_code, "max_tokens" in wrong.json()["error"]) == (400, True)


async def test_gives_pictures_as_base64_and_raw(
    client: httpx.AsyncClient, register: Register
) -> None:
    """In JSON with `content_type`, else as they are."""
    await register(PAINTER)
    body = {"inputs": [_input("prompt", "BYTES", [1], ["a boat"])]}
    plain = (await client.post("/v2/models/painter/infer", json=body)).json()["outputs"][0]
    raw = await client.post(
        "/v2/models/painter/infer", json={**body, "parameters": {"binary_data_output": True}}
    )

    assert plain["parameters"] == {"content_type": "base64"}
    assert plain["data"][0].startswith("iVBOR")
    assert b"\x89PNG" in raw.content


async def test_reads_and_gives_raw_data(client: httpx.AsyncClient, register: Register) -> None:
    """The JSON's length stands in a header, both ways; what is asked for as JSON is JSON."""
    await register(DOUBLER)
    x = np.array([[1, 2]], np.float32).tobytes()
    head = {
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": [1, 2],
                "parameters": {"binary_data_size": 8},
            }
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    text = json.dumps(head).encode()
    answer = await client.post(
        "/v2/models/doubler/infer",
        content=text + x,
        headers={"Inference-Header-Content-Length": str(len(text))},
    )
    size = int(answer.headers["inference-header-content-length"])
    document = json.loads(answer.content[:size])

    assert answer.headers["content-type"] == "application/octet-stream"
    assert document["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert "data" not in document["outputs"][0]
    assert struct.unpack("<2f", answer.content[size:]) == (2.0, 4.0)


async def test_gives_some_outputs_raw(client: httpx.AsyncClient, register: Register) -> None:
    """`binary_data` of an output goes before the request's `binary_data_output`."""
    await register(EMBEDDER)
    body = {
        "inputs": [_input("text", "BYTES", [1], ["abc"])],
        "outputs": [{"name": "usage", "parameters": {"binary_data": False}}, {"name": "embedding"}],
        "parameters": {"binary_data_output": True},
    }
    answer = await client.post("/v2/models/vectors/infer", json=body)
    size = int(answer.headers["inference-header-content-length"])
    usage, embedding = json.loads(answer.content[:size])["outputs"]

    assert json.loads(usage["data"][0]) == {"prompt": 3}
    assert embedding["parameters"]["binary_data_size"] == len(answer.content) - size


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": [{"name": "x"}]}, "datatype"),
        ({"inputs": [{**_x([[1.0]]), "shape": [2, 1]}]}, "not [2, 1]"),
        ({"inputs": [_x([[1.0]])], "outputs": [{"name": "z"}]}, "no output 'z'"),
        ({"inputs": [_x([[1.0]])], "parameters": {"timeout": -1}}, "timeout"),
        ({"inputs": [_x([[1.0]])], "parameters": {"sequence_id": 3}}, "sequence_id"),
        ({"inputs": [_x([[1.0]])], "parameters": {"binary_data_output": 1}}, "true or false"),
        (
            {"inputs": [{**_x([[1.0]]), "parameters": {"shared_memory_region": "r"}}]},
            "shared_memory_region",
        ),
        (
            {
                "inputs": [_x([[1.0]])],
                "outputs": [{"name": "y", "parameters": {"classification": 1}}],
            },
            "classification",
        ),
        ({"inputs": [{**_x([[1.0]]), "parameters": {"binary_data_size": 4}}]}, "both"),
        (
            {
                "inputs": [
                    {
                        "name": "x",
                        "datatype": "FP32",
                        "shape": [1],
                        "parameters": {"binary_data_size": 4},
                    }
                ]
            },
            "0 are left",
        ),
        (
            {
                "inputs": [
                    {
                        "name": "x",
                        "datatype": "FP32",
                        "shape": [1],
                        "parameters": {"binary_data_size": "4"},
                    }
                ]
            },
            "number of bytes",
        ),
        ({"inputs": [_x([[1.0], [13.0]])]}, "Row 1: 13 is not doubled"),
        ({"inputs": [_x([[13.0]])]}, "13 is not doubled"),
    ],
)
async def test_refuses_what_is_wrong(
    client: httpx.AsyncClient, register: Register, body: dict[str, object], message: str
) -> None:
    """400, and `error` says what."""
    await register(DOUBLER)
    answer = await client.post("/v2/models/doubler/infer", json=body)

    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "size", "message"),
    [
        (b"", None, "empty"),
        (b"{", None, "no request"),
        (b"\xff", None, "no request"),
        (b"[" * 100_000, None, "nested|no request"),
        (b"{}", "3", "Inference-Header-Content-Length"),
        (b"{}", "x", "Inference-Header-Content-Length"),
        (b'{"inputs": []}1234', "14", "belong to no input"),
    ],
)
async def test_refuses_what_cannot_be_read(
    client: httpx.AsyncClient, register: Register, content: bytes, size: str | None, message: str
) -> None:
    """400 as well."""
    await register(DOUBLER)
    headers = {} if size is None else {"Inference-Header-Content-Length": size}
    answer = await client.post("/v2/models/doubler/infer", content=content, headers=headers)

    assert answer.status_code == 400
    assert any(part in answer.json()["error"] for part in message.split("|"))


async def test_holds_a_model_to_its_declaration(
    client: httpx.AsyncClient, register: Register
) -> None:
    """Shapes and names, before anything is queued."""
    await register(DECLARED)
    answers = [
        await client.post("/v2/models/declared/infer", json={"inputs": [each]})
        for each in (_x([[1, 2]]), _x([[1, 2, 3]]), {**_x([[1, 2]]), "name": "z"})
    ]

    assert [answer.status_code for answer in answers] == [200, 400, 400]
    assert "[-1, 2], not [1, 3]" in answers[1].json()["error"]


async def test_answers_at_odd_spellings(client: httpx.AsyncClient, register: Register) -> None:
    """A slash too many goes by Litestar, to the same call; unknown routes keep the form."""
    await register(DOUBLER)
    body = {"inputs": [_x([[1.0]])]}
    answers = [
        await client.post("/v2/models/doubler/infer/", json=body),
        await client.post("/v2/models/doubler/versions/1/infer/", json=body),
        await client.post("/v2/models/doubler/answer", json=body),
        await client.get("/v2/models/doubler/infer"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 404, 405]
    assert isinstance(answers[2].json()["error"], str)


async def test_ends_at_the_clients_timeout(client: httpx.AsyncClient, register: Register) -> None:
    """`timeout` is in microseconds; the shorter of it and X-Request-Timeout holds."""
    await register(ENDLESS)
    body = {"inputs": [_x([[1.0]])], "parameters": {"timeout": 20_000}}
    short = await client.post("/v2/models/endless/infer", json=body)
    header = await client.post(
        "/v2/models/endless/infer",
        json={**body, "parameters": {"timeout": 10**12}},
        headers={"X-Request-Timeout": "0.02"},
    )

    assert (short.status_code, header.status_code) == (504, 504)


async def test_cancels_what_a_client_leaves(
    edge: Edge, register: Register, service: Service
) -> None:
    """Every row, down to the engine."""
    await register(ENDLESS)
    body = json.dumps({"inputs": [_x([[1.0], [2.0]])]}).encode()
    talk = Conversation(edge, "POST", "/v2/models/endless/infer", body=body)
    await turns(lambda: service.orchestrator.models()[0].replicas[0].in_flight == 2)
    talk.leave()
    await talk.end()
    await turns(lambda: service.orchestrator.models()[0].replicas[0].in_flight == 0)

    assert talk.status == 0


async def test_stands_in_the_document(client: httpx.AsyncClient, register: Register) -> None:
    """Body, answer and error of each call fit what is sent and answered."""
    await register(DOUBLER)
    document = (await client.get("/api/docs/openapi.json")).json()
    operation = document["paths"]["/v2/models/{model}/infer"]["post"]
    body = {"inputs": [_x([[1.0]])], "outputs": [{"name": "y"}]}
    answer = await client.post("/v2/models/doubler/infer", json=body)
    error = await client.post("/v2/models/doubler/infer", json={})

    def check(holder: dict[str, object], value: object) -> None:
        schema = holder["content"]["application/json"]["schema"]
        jsonschema_rs.validate({**schema, "components": document["components"]}, value)

    check(operation["requestBody"], body)
    check(operation["responses"]["200"], answer.json())
    check(operation["responses"]["default"], error.json())
    ready = document["paths"]["/v2/health/ready"]["get"]
    assert ready["security"] == []
