"""TorchServe's workflows as workflow files; what is written passes the checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from torchloom.signature import Signature
from torchloom_api.torchserve.migration.archive_file import UnreadableArchive
from torchloom_api.torchserve.migration.workflow_file import (
    Specification,
    to_node_model,
    to_workflow_file,
)
from torchloom_workflows.builder import build_graph
from torchloom_workflows.loader import load_document


Make = Callable[..., Path]

SPECIFICATION = """\
models:
  min-workers: 1
  max-workers: 4
  batch-size: 4
  max-batch-delay: 200
  retry-attempts: 3
  timeout-ms: 5000
  m1: {url: a.mar, batch-size: 1}
  m2: {url: b.mar, min-workers: 2}
dag:
  pre: [m1, m2]
  m1: [agg]
  m2: [agg]
"""


def test_writes_a_workflow_that_passes_the_checks(make_workflow: Make) -> None:
    """One predecessor gives the body, several give fields by name; the leaf is the output."""
    file = to_workflow_file(Specification.read(make_workflow("w", SPECIFICATION)))
    nodes = file["nodes"]
    assert isinstance(nodes, dict)
    assert {name: node["inputs"] for name, node in nodes.items()} == {
        "pre": {"body": "{{ inputs.body }}"},
        "m1": {"body": "{{ pre.body }}"},
        "m2": {"body": "{{ pre.body }}"},
        "agg": {"m1": "{{ m1.body }}", "m2": "{{ m2.body }}"},
    }
    assert nodes["m1"] == {
        "model": "w__m1",
        "inputs": {"body": "{{ pre.body }}"},
        "timeout_s": 5.0,
        "retry": {"attempts": 3},
    }
    assert file["outputs"] == {"agg": "{{ agg.value }}"}
    graph = build_graph(
        load_document(yaml.safe_dump(file, sort_keys=False)),
        signature_of=lambda name, _: Signature(is_open=True) if name.startswith("w__") else None,
        model_names={f"w__{node}" for node in nodes},
        workflow_of=lambda _, __: None,
        workflow_names=set(),
        function_modules=(),
        devices_of=lambda _, __: None,
    )
    assert set(graph.nodes) == {"pre", "m1", "m2", "agg"}


def test_writes_models_for_its_nodes(make_workflow: Make, store: Path) -> None:
    """Models have the workflow's settings unless they have their own; functions have one worker."""
    specification = Specification.read(make_workflow("w", SPECIFICATION))
    assert specification.functions == ["pre", "agg"]
    model = to_node_model(specification, "m2", source=store / "b.mar")
    assert model == {
        "name": "w__m2",
        "kind": "handler",
        "source": str(store / "b.mar"),
        "replicas": {"min": 2, "max": 4},
        "batching": {"max_size": 4, "max_wait_s": 0.2},
    }
    function = to_node_model(specification, "pre", source=store)
    assert function["handler"] == "h:pre"
    assert function["replicas"] == {"min": 1, "max": 1}
    assert function["batching"] == {"max_size": 1}


def test_has_torchserves_defaults(make_workflow: Make) -> None:
    """What the specification leaves out is as TorchServe has it."""
    specification = Specification.read(make_workflow("w", "models: {m: {url: a}}\ndag: {m: []}\n"))
    keys = ("batch-size", "max-batch-delay", "retry-attempts", "timeout-ms")
    assert [specification.setting("m", key) for key in keys] == [1, 50, 1, 10_000]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dag: {a: [b]}", "no `models`"),
        ("models: {}", "no `dag`"),
        ("models: {}\ndag: {a: [b], b: [a]}", "loop exception"),
        ("models: {}\ndag: {a: [a]}", "loop exception"),
        ("models: {}\ndag: {a: [c], b: [c]}", "DAG should have only one start node"),
        ("models: {batch-size: x}\ndag: {a: [b]}", "`batch-size: x` is no whole number"),
        ("models: {timeout-ms: -1}\ndag: {a: [b]}", "is below 0"),
        ("[1]", "is no mapping"),
    ],
)
def test_refuses_what_torchserve_refuses(make_workflow: Make, text: str, says: str) -> None:
    """A specification that never ran is not carried over, and the reason is told."""
    with pytest.raises(UnreadableArchive, match=says):
        Specification.read(make_workflow("w", text))


def test_needs_a_manifest(make_model: Make) -> None:
    """A model's archive is no workflow."""
    with pytest.raises(UnreadableArchive, match="names no specFile"):
        Specification.read(make_model("m"))
