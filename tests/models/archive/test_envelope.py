"""Envelopes of TorchServe, around handlers of users: what handlers see, and what clients do."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from model_fakes.archives import make_mar

from torchloom.engine import Result, Work
from torchloom.errors import HandlerFailed, InvalidModel
from torchloom_models.archive.engine import HandlerEngine


#: Opens an archive with the keys of a model file.
Open = Callable[..., HandlerEngine]

ECHO = "def handle(data, context):\n    return None if data is None else list(data)\n"

#: What KServe's second protocol sends for a tensor.
INPUT = {"name": "x", "shape": [2], "datatype": "INT64", "data": [1, 2]}


def ask(engine: HandlerEngine, *bodies: object, **params: object) -> list[object]:
    """Ask an engine for a batch; give what clients get, read as JSON."""
    for number, body in enumerate(bodies):
        engine.admit(Work(number, {"body": body}, params))
    events = [event for event in engine.step() if isinstance(event, Result)]
    return [json.loads(bytes(event.outputs["body"])) for event in events]  # type: ignore[call-overload]  # bytes


@pytest.fixture
def enveloped(open_archive: Open, tmp_path: Path) -> Callable[..., HandlerEngine]:
    """Open a handler that gives back what it sees, in an envelope."""

    def open_it(name: str, code: str = ECHO) -> HandlerEngine:
        source = make_mar(tmp_path, "echo", "seen.py", {"seen.py": code})
        return open_archive(source, envelope=name, max_size=4)

    return open_it


def test_unwraps_bodies(enveloped: Callable[..., HandlerEngine]) -> None:
    """The handler sees what is in a row, not the row."""
    assert ask(enveloped("body"), 1, [2]) == [1, [2]]


@pytest.mark.parametrize("name", ["json", "kserve"])
def test_joins_instances(name: str, enveloped: Callable[..., HandlerEngine]) -> None:
    """All instances of a batch are one list, and each request gets its own back."""
    engine = enveloped(name)

    assert ask(engine, {"instances": [1, 2]}, json.dumps({"instances": [3]}).encode()) == [
        {"predictions": [1, 2]},
        {"predictions": [3]},
    ]


@pytest.mark.parametrize("name", ["json", "kserve"])
def test_gives_a_lone_request_all_that_there_is(
    name: str, enveloped: Callable[..., HandlerEngine]
) -> None:
    """However much that is, as where a handler answers for all instances together."""
    engine = enveloped(name, ECHO.replace("list(data)", "{'sum': sum(data)}"))

    assert ask(engine, {"instances": [1, 2]}) == [{"predictions": {"sum": 3}}]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("json", b'{"predictions": ["\\u00e9", {"a": 1}]}'),
        (
            "kserve",
            b'{\n  "predictions": [\n    "\\u00e9",\n    {\n      "a": 1\n    }\n  ]\n}',
        ),
    ],
)
def test_writes_json_as_torchserve_does(
    name: str, body: bytes, enveloped: Callable[..., HandlerEngine]
) -> None:
    """The older envelope gives text, on one line; the other one leaves it to the server."""
    engine = enveloped(name)
    engine.admit(Work(1, {"body": {"instances": ["é", {"a": 1}]}}))
    (event,) = engine.step()

    assert isinstance(event, Result)
    assert event.outputs["body"] == body


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("json", ["1", "{'a': b'hi', 'b': {'c': {'b64': 'eA=='}}}", "b'x'"]),
        (
            "kserve",
            ["1", "{'a': {'b64': 'aGk='}, 'b': {'c': {'b64': 'eA=='}}}", "{'b64': 'eA=='}"],
        ),
    ],
)
def test_reads_base64_of_instances(
    name: str, seen: list[str], enveloped: Callable[..., HandlerEngine]
) -> None:
    """An instance, or a value of one, is bytes to the handler; handlers of KServe read it."""
    engine = enveloped(name, ECHO.replace("list(data)", "[repr(each) for each in data]"))
    nested = {"a": {"b64": "aGk="}, "b": {"c": {"b64": "eA=="}}}

    assert ask(engine, {"instances": [1, nested, {"b64": "eA=="}]}) == [{"predictions": seen}]


@pytest.mark.parametrize(("name", "key"), [("json", "predictions"), ("kserve", "explanations")])
def test_says_what_it_explains(
    name: str, key: str, enveloped: Callable[..., HandlerEngine]
) -> None:
    """KServe has another name for explanations."""
    assert ask(enveloped(name), {"instances": [1]}, is_explain=True) == [{key: [1]}]


def test_speaks_the_second_protocol_of_kserve(enveloped: Callable[..., HandlerEngine]) -> None:
    """Each input is a row, each item an output with the input's name; keys in their order."""
    engine = enveloped("kservev2")
    other = {**INPUT, "name": "y"}
    named, unnamed = ask(
        engine, {"id": "mine", "inputs": [INPUT]}, {"inputs": [INPUT, other]}, request_id="r"
    )

    assert named == {
        "id": "mine",
        "model_name": "echo",
        "model_version": "1.0",
        "outputs": [{"name": "x", "datatype": "BYTES", "data": [INPUT], "shape": [1]}],
    }
    assert isinstance(unnamed, dict)
    assert (unnamed["id"], [each["name"] for each in unnamed["outputs"]]) == ("r", ["x", "y"])
    assert list(unnamed["outputs"][0]) == ["name", "datatype", "data", "shape"]


def test_gives_handlers_the_first_text_of_an_input(enveloped: Callable[..., HandlerEngine]) -> None:
    """Of BYTES there is one, and it stands alone, as TorchServe's handlers expect it."""
    engine = enveloped("kservev2", ECHO.replace("list(data)", "[row['data'] for row in data]"))
    texts = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["aGk="]}
    (answer,) = ask(engine, {"inputs": [texts]})

    assert isinstance(answer, dict)
    assert answer["outputs"][0]["data"] == ["aGk="]


def test_lets_a_lone_request_have_fewer_outputs(enveloped: Callable[..., HandlerEngine]) -> None:
    """As of a model of several inputs; more than there are names for are refused."""
    one = enveloped("kservev2", ECHO.replace("list(data)", "[5]"))
    (answer,) = ask(one, {"inputs": [INPUT, {**INPUT, "name": "y"}]})
    assert isinstance(answer, dict)
    assert [each["name"] for each in answer["outputs"]] == ["x"]

    with pytest.raises(HandlerFailed, match="batch response mismatched"):
        ask(one, {"inputs": []})


@pytest.mark.usefixtures("ts")
@pytest.mark.parametrize(
    ("item", "output"),
    [
        ([1, 2], {"datatype": "INT64", "data": [1, 2], "shape": [2]}),
        (1.5, {"datatype": "FP64", "data": [1.5], "shape": [1]}),
        (True, {"datatype": "BOOL", "data": [True], "shape": [1]}),
        ("a", {"datatype": "BYTES", "data": ["a"], "shape": [1]}),
        ({"a": 1}, {"datatype": "BYTES", "data": [{"a": 1}], "shape": [1]}),
        (np.ones((1, 2), np.float32), {"datatype": "FP32", "data": [1.0, 1.0], "shape": [2]}),
        (torch.ones(2, 1, dtype=torch.int8), {"datatype": "INT8", "data": [1, 1], "shape": [2]}),
        ([[1, 2], [3, 4]], {"datatype": "INT64", "data": [1, 2, 3, 4], "shape": [4]}),
        (["a", 1], {"datatype": "BYTES", "data": ["a", "1"], "shape": [2]}),
    ],
)
def test_writes_values_as_kserve_does(item: object, output: object) -> None:
    """Numbers have their own types, all else is bytes; the list is flat."""
    module = importlib.import_module("ts.torch_handler.request_envelope.kservev2")

    assert module._output("x", item) == {"name": "x", **output}  # type: ignore[dict-item]  # as given


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("json", b"{", "no JSON"),
        ("json", [1], "must be a JSON object"),
        ("json", {}, "list of instances"),
        ("kservev2", {"inputs": 3}, "list of inputs"),
        ("kservev2", {"inputs": [{"data": [1]}]}, "has a name"),
    ],
)
def test_refuses_bodies_of_another_protocol(
    name: str, body: object, message: str, enveloped: Callable[..., HandlerEngine]
) -> None:
    """The client is told, with the status of a bad request."""
    with pytest.raises(HandlerFailed, match=message) as caught:
        ask(enveloped(name), body)
    assert caught.value.status == 400


def test_refuses_an_envelope_that_there_is_not(open_archive: Open, tmp_path: Path) -> None:
    """The nearest is named."""
    source = make_mar(tmp_path, "echo", "seen.py", {"seen.py": ECHO}, envelope="jsn")

    with pytest.raises(InvalidModel, match="Did you mean 'json'"):
        open_archive(source)
