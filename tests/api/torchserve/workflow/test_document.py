"""TorchServe's workflows as workflow files; what is written passes the checks."""

from __future__ import annotations

import pytest
import yaml
from api_fakes.torchserve import DIAMOND, MakeWar

from torchloom.graph import Graph
from torchloom.signature import Signature
from torchloom_api.torchserve.workflow.document import BODIES, name_nodes, to_workflow_file
from torchloom_api.torchserve.workflow.specification import Specification
from torchloom_models.kind import KINDS
from torchloom_workflows.builder import build_graph
from torchloom_workflows.loader import load_document


def build(file: dict[str, object]) -> Graph:
    """Check a workflow file as a registration does."""

    def signature_of(name: str, _: int | None) -> Signature | None:
        return KINDS["handler"].signature if "__" in name else None

    return build_graph(
        load_document(yaml.safe_dump(file, sort_keys=False, allow_unicode=True)),
        signature_of=signature_of,
    )


def test_writes_a_workflow_that_passes_the_checks(make_war: MakeWar) -> None:
    """One predecessor gives the body, several give fields by name; the leaf is the output."""
    file = to_workflow_file(Specification.read(make_war("w", DIAMOND)))
    nodes = file["nodes"]
    assert isinstance(nodes, dict)

    assert {name: node["inputs"] for name, node in nodes.items()} == {
        "pre": {"body": "{{ inputs.body }}"},
        "m1": {"body": "{{ pre.body }}"},
        "m2": {"body": "{{ pre.body }}"},
        "agg": {"m1": "{{ m1.body }}", "m2": "{{ m2.body }}"},
    }
    assert (nodes["m1"]["timeout_s"], nodes["m1"]["retry"]) == (5.0, {"attempts": 4})
    assert file["outputs"] == {"agg": "{{ agg.value }}"}
    assert set(build(file).nodes) == {"pre", "m1", "m2", "agg"}


def test_hands_the_request_on(make_war: MakeWar) -> None:
    """Headers reach every node, fields and their types the first alone."""
    file = to_workflow_file(Specification.read(make_war("w", DIAMOND)))
    nodes = file["nodes"]
    assert isinstance(nodes, dict)
    params = {name: set(node["params"]) for name, node in nodes.items()}

    assert params["pre"] == {"headers", "request_id", "fields", "content_types"}
    assert params["m1"] == params["agg"] == {"headers", "request_id"}


def test_adds_the_bytes_of_leaves(make_war: MakeWar) -> None:
    """In an output of their own, for who wants what TorchServe would send."""
    text = "models: {}\ndag: {start: [left, right]}\n"
    file = to_workflow_file(Specification.read(make_war("w", text)), with_bodies=True)

    assert file["outputs"] == {
        "left": "{{ left.value }}",
        "right": "{{ right.value }}",
        BODIES: {"left": "{{ left.body }}", "right": "{{ right.body }}"},
    }
    assert set(build(file).signature.outputs) == {"left", "right", BODIES}


def test_gives_no_limit_where_there_is_none(make_war: MakeWar) -> None:
    """One attempt is what a node has anyway, and a time of 0 is none."""
    text = "models: {timeout-ms: 0, retry-attempts: 0}\ndag: {start: []}\n"
    nodes = to_workflow_file(Specification.read(make_war("w", text)))["nodes"]
    assert isinstance(nodes, dict)

    assert set(nodes["start"]) == {"model", "inputs", "params"}


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        (["a-b", "a_b", "a.b"], ["a_b", "a_b_2", "a_b_3"]),
        (["1st", "inputs", "bodies", "True"], ["_1st", "inputs_2", "bodies_2", "_True"]),
        (["é", "", "if", "not"], ["_", "node", "_if", "_not"]),
        (["x" * 200, "x" * 201], ["x" * 60, f"{'x' * 60}_2"]),
    ],
)
def test_names_nodes(nodes: list[str], names: list[str]) -> None:
    """Each name is one of a workflow file, and means nothing else there."""
    assert list(name_nodes(nodes).values()) == names


def test_builds_with_odd_names(make_war: MakeWar) -> None:
    """Whatever nodes are called, the file passes the checks."""
    text = "models: {}\ndag: {a-b: [inputs, 'true', if], inputs: [c.d], 'true': [c.d], if: [c.d]}\n"
    file = to_workflow_file(Specification.read(make_war("w", text)), with_bodies=True)

    graph = build(file)
    assert len(graph.nodes) == 5
    assert set(graph.nodes["c_d"].inputs) == {"inputs", "true", "if"}
