"""Schema: the shape of a workflow file."""

from __future__ import annotations

import jsonschema_rs
import pytest
from workflow_fakes.files import MULTI_IMAGE, RAG

from torchloom_workflows.loader import load_document
from torchloom_workflows.schema import WORKFLOW_SCHEMA, check_shape


def _faults(text: str) -> list[str]:
    faults, _ = check_shape(load_document(text))
    return [f"{fault.line}:{fault.column}: {fault.message}" for fault in faults]


def _node(node: str) -> str:
    return f"name: w\noutputs: {{o: x}}\nnodes:\n  a: {node}\n"


def test_is_a_json_schema() -> None:
    """The shape is JSON Schema itself, so that editors can use it."""
    jsonschema_rs.meta.validate(dict(WORKFLOW_SCHEMA))


@pytest.mark.parametrize("text", [RAG, MULTI_IMAGE])
def test_finds_nothing_in_a_sound_file(text: str) -> None:
    """What is sound is given back whole."""
    document = load_document(text)
    assert check_shape(document) == ([], document.data)


@pytest.mark.parametrize("text", ["3", "[]", "text", "~"])
def test_refuses_what_is_no_mapping(text: str) -> None:
    """A file is a mapping."""
    faults, sound = check_shape(load_document(text))
    assert sound == {}
    assert "must be a mapping" in faults[0].message


def test_finds_all_that_is_missing() -> None:
    """Name, nodes and outputs must be there, and not be empty."""
    assert _faults("description: x") == [
        "1:1: The key 'name' is missing.",
        "1:1: The key 'nodes' is missing.",
        "1:1: The key 'outputs' is missing.",
    ]
    assert _faults("{name: w, nodes: {}, outputs: {}}") == [
        "1:18: 'nodes' must have at least 1 entry, not 0.",
        "1:31: 'outputs' must have at least 1 entry, not 0.",
    ]


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        ("{modle: x}", "4:7: Unknown key 'modle'. Did you mean 'model'?"),
        ("{retry: {atempts: 2}}", "4:15: Unknown key 'atempts'. Did you mean 'attempts'?"),
        ("{retry: {on: [faild]}}", "4:20: 'faild' is not one of"),
        ("{retry: {on: faild}}", "4:19: 'faild' is not one of"),
        ("{retry: {attempts: 0}}", "4:25: 'attempts' must be 1 or more, not 0."),
        ("{cache: {ttl: 3}}", "4:15: Unknown key 'ttl'. Did you mean 'ttl_s'?"),
        ("{cache: yes}", "4:14: 'cache' must be true or false or a mapping, not a string."),
        ("{timeout_s: 0}", "4:18: 'timeout_s' must be more than 0, not 0."),
        ("{timeout_s: '3'}", "4:18: 'timeout_s' must be a number, not a string."),
        ("{repeat: {until: x}}", "4:15: The key 'max' is missing."),
        ("{repeat: {until: x, max: 9999}}", "4:31: 'max' must be 1000 or less, not 9999."),
        ("{limit: -1}", "4:14: 'limit' must be 0 or more, not -1."),
        ("{priority: 1.5}", "4:17: 'priority' must be a whole number, not 1.5."),
        ("{after: [1]}", "4:15: Item 0 must be a string, not 1."),
        ("{model: 'a b'}", "4:14: Write `name`, or `name@version` with a whole number."),
        ("{model: a@b}", "4:14: Write `name`, or `name@version` with a whole number."),
        ("{function: os.system}", "4:17: Write `package.module:name`."),
        ("{inputs: [x]}", "4:15: 'inputs' must be a mapping, not a list."),
        ("3", "4:6: 'a' must be a mapping, not 3."),
    ],
)
def test_words_each_fault(node: str, fault: str) -> None:
    """A fault stands at its key or value, and names both."""
    faults = _faults(_node(node))
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_refuses_names_that_expressions_cannot_read() -> None:
    """Names of nodes, inputs and outputs are identifiers."""
    text = "name: 'a b'\nnodes: {a-b: {}}\noutputs: {1a: x}\ninputs: {'': {}}\n"
    assert [fault.split(": ")[0] for fault in _faults(text)] == ["1:7", "2:9", "3:11", "4:10"]


def test_leaves_out_what_is_not_sound() -> None:
    """The parts with faults are left out, and everything else is kept."""
    node = "{model: 3, after: [b, 1], when: true}"
    text = f"{{name: w, version: x, nodes: {{a: {node}, b-c: {{}}}}, outputs: {{}}}}"
    _, sound = check_shape(load_document(text))
    assert sound == {"name": "w", "nodes": {"a": {"when": True}}, "outputs": {}}
