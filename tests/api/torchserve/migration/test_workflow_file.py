"""Nodes of TorchServe's workflows as model files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torchloom_api.torchserve.migration.workflow_file import to_node_model
from torchloom_api.torchserve.workflow.specification import Specification


Make = Callable[..., Path]

SPECIFICATION = """\
models:
  min-workers: 1
  max-workers: 4
  batch-size: 4
  max-batch-delay: 200
  m: {url: b.mar}
  n: {url: b.mar, max-workers: 0}
dag:
  pre: [m, n]
"""


def test_writes_models_for_its_nodes(make_workflow: Make, store: Path) -> None:
    """With as many workers as TorchServe starts: the most that are allowed, and one at least."""
    specification = Specification.read(make_workflow("w", SPECIFICATION))

    model = to_node_model(specification.node("m"), source=store / "b.mar")
    assert model == {
        "name": "w__m",
        "kind": "handler",
        "source": str(store / "b.mar"),
        "replicas": {"min": 4, "max": 4},
        "batching": {"max_size": 4, "max_wait_s": 0.2},
    }
    none = to_node_model(specification.node("n"), source=store / "b.mar")
    assert none["replicas"] == {"min": 1, "max": 1}


def test_writes_functions_as_handlers(make_workflow: Make, store: Path) -> None:
    """With one worker, and no batches."""
    function = to_node_model(
        Specification.read(make_workflow("w", SPECIFICATION)).node("pre"), source=store
    )
    assert function == {
        "name": "w__pre",
        "kind": "handler",
        "source": str(store),
        "handler": "h:pre",
        "replicas": {"min": 1, "max": 1},
        "batching": {"max_size": 1},
    }
