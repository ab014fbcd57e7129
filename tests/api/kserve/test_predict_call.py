"""KServe v1: predictions, explanations, and handlers that read the protocol themselves."""

from __future__ import annotations

import base64

import httpx
import pytest
from api_fakes.documents import EMBEDDER, PAINTER, WRITER, Register


DOUBLER = """
name: doubler
kind: module
factory: doubler
config: {inputs: {x: {shape: [2], dtype: float32}}}
"""

UNDECLARED = """
name: undeclared
kind: module
factory: doubler
"""

HANDLER = """
name: handler
kind: handler
factory: handler
"""


async def test_predicts(client: httpx.AsyncClient, register: Register) -> None:
    """An instance is an object with inputs, or the one input; predictions are in order."""
    await register(DOUBLER)
    instances = [[1, 2], {"x": [3, 4]}]
    answer = await client.post("/v1/models/doubler:predict", json={"instances": instances})

    assert answer.status_code == 200
    assert answer.json() == {"predictions": [[2, 4], [6, 8]]}


async def test_predicts_with_text(client: httpx.AsyncClient, register: Register) -> None:
    """The main output of a kind is the prediction; parameters are the model's own."""
    await register(WRITER, EMBEDDER)
    body = {"instances": ["one two", {"prompt": "a"}], "parameters": {"max_tokens": 1}}
    texts = await client.post("/v1/models/writer:predict", json=body)
    vectors = await client.post("/v1/models/vectors@1:predict", json={"instances": ["abc"]})

    assert texts.json() == {"predictions": ["one ", "a "]}
    assert vectors.json() == {"predictions": [[3, 0.5]]}


async def test_takes_bytes_in_base64(client: httpx.AsyncClient, register: Register) -> None:
    """`{"b64": …}`, as TensorFlow's clients write it."""
    await register("name: echo\nfactory: echo")
    instance = {"value": {"b64": base64.b64encode(b"\x00\xff").decode()}}
    wrong = {"value": {"b64": "?"}}
    good = await client.post("/v1/models/echo:predict", json={"instances": [instance]})
    bad = await client.post("/v1/models/echo:predict", json={"instances": [wrong]})

    assert good.json()["predictions"][0]["value"] == "AP8="
    assert (bad.status_code, "base64" in bad.json()["error"]) == (400, True)


async def test_draws(client: httpx.AsyncClient, register: Register) -> None:
    """Bytes of answers are base64."""
    await register(PAINTER)
    answer = await client.post("/v1/models/painter:predict", json={"instances": ["a boat"]})
    assert answer.json()["predictions"][0].startswith("iVBOR")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no request"),
        (b"{}", "instances"),
        (b'{"instances": 1}', "array"),
        (b'{"instances": []}', "1 to 4096"),
        (b'{"instances": [1]}', "as an object"),
        (b'{"instances": [{"x": [1]}, {"x": [13]}]}', "Row 1: 13 is not doubled"),
        (b"[" * 100_000, "nested"),
    ],
)
async def test_refuses_what_is_wrong(
    client: httpx.AsyncClient, register: Register, body: bytes, message: str
) -> None:
    """400, with `error`."""
    await register(UNDECLARED)
    answer = await client.post("/v1/models/undeclared:predict", content=body)

    assert answer.status_code == 400
    assert message in answer.json()["error"] or "no request" in answer.json()["error"]


async def test_knows_no_such_model(client: httpx.AsyncClient, register: Register) -> None:
    """404, with the nearest name; unknown verbs are no route."""
    await register(DOUBLER)
    missing = await client.post("/v1/models/doubled:predict", json={"instances": [1]})
    verb = await client.post("/v1/models/doubler:train", json={})

    assert missing.status_code == 404
    assert "Did you mean 'doubler'" in missing.json()["error"]
    assert verb.status_code in (404, 405)


async def test_explains_nothing(client: httpx.AsyncClient, register: Register) -> None:
    """501: only handlers can."""
    await register(DOUBLER)
    answer = await client.post("/v1/models/doubler:explain", json={"instances": [[1, 2]]})

    assert (answer.status_code, "explain nothing" in answer.json()["error"]) == (501, True)


async def test_hands_v1_to_a_handler(client: httpx.AsyncClient, register: Register) -> None:
    """The document goes in as it is, and the handler's status, type and headers come back."""
    await register(HANDLER)
    predicted = await client.post("/v1/models/handler:predict", json={"instances": [1]})
    explained = await client.post("/v1/models/handler:explain", json={"instances": [1]})

    assert predicted.status_code == 203
    assert predicted.headers["x-made-by"] == "handler"
    assert predicted.json() == {"got": {"instances": [1]}, "is_explain": False}
    assert explained.json()["is_explain"]


async def test_hands_v2_to_a_handler(client: httpx.AsyncClient, register: Register) -> None:
    """Tensors go in as a document of v2; what is none in return is the handler's failure."""
    await register(HANDLER)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    good = await client.post(
        "/v2/models/handler/infer", json={"id": "7", "inputs": [tensor], "parameters": {"a": 1}}
    )
    wished = await client.post(
        "/v2/models/handler/infer", json={"inputs": [tensor], "outputs": [{"name": "z"}]}
    )
    broken = {**tensor, "name": "break"}
    bad = await client.post("/v2/models/handler/infer", json={"inputs": [broken]})

    assert good.json()["outputs"] == [{**tensor, "name": "y"}]
    assert good.json()["id"] == "7"
    assert (wished.status_code, "no output 'z'" in wished.json()["error"]) == (400, True)
    assert (bad.status_code, "kservev2" in bad.json()["error"]) == (500, True)
