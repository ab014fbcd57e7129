"""The models of a workflow's nodes as model files; that of a function has it as its handler."""

from __future__ import annotations

from pathlib import Path

from torchloom_api.torchserve.workflow.specification import NodeSpec


def to_node_model(spec: NodeSpec, *, source: Path) -> dict[str, object]:
    """Write a node's model file. A function's source is the folder of the unpacked archive."""
    workers = max(1, spec.workers)
    file: dict[str, object] = {
        "name": spec.model_name,
        "kind": "handler",
        "source": str(source.resolve()),
        "replicas": {"min": workers, "max": workers},
        "batching": {"max_size": spec.batch_size},
    }
    if spec.handler is not None:
        return file | {"handler": spec.handler}
    return file | {
        "batching": {
            "max_size": spec.batch_size,
            "max_wait_s": spec.max_batch_delay_ms / 1000,
        }
    }
