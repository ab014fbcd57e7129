"""Models as the checker sees them, and short ways to check a file."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from torchloom.document import Document
from torchloom.errors import InvalidWorkflow
from torchloom.graph import Graph
from torchloom.signature import Signature
from torchloom_workflows.builder import build_graph
from torchloom_workflows.catalog import Catalog
from torchloom_workflows.loader import load_document


_STRING = {"type": "string"}

LLM = Signature(
    inputs={"prompt": _STRING, "messages": {"type": "array", "items": {"type": "object"}}},
    one_of=(frozenset({"prompt", "messages"}),),
    params={
        "max_tokens": {"type": "integer", "minimum": 1},
        "temperature": {"type": "number", "minimum": 0},
    },
    outputs={
        "text": _STRING,
        "usage": {
            "type": "object",
            "properties": {"prompt": {"type": "integer"}},
            "additionalProperties": False,
        },
    },
    chunks={},
)

EMBEDDER = Signature(
    inputs={"text": _STRING},
    required=frozenset({"text"}),
    outputs={"embedding": {"type": "array", "items": {"type": "number"}}},
)

INDEX = Signature(
    inputs={
        "vector": {"type": "array", "items": {"type": "number"}},
        "top_k": {"type": "integer", "minimum": 1},
    },
    required=frozenset({"vector"}),
    outputs={"documents": {"type": "array", "items": {"type": "object"}}},
)

DIFFUSION = Signature(
    inputs={"prompt": _STRING, "seed": {"type": "integer"}},
    required=frozenset({"prompt"}),
    outputs={"image": {}, "seed": {"type": "integer"}},
    chunks={},
)

MODELS: Mapping[str, Signature] = {
    "minilm": EMBEDDER,
    "handbook": INDEX,
    "llama": LLM,
    "stable_diffusion": DIFFUSION,
    "module": Signature(is_open=True),
}


def signature_of(name: str, version: int | None) -> Signature | None:
    """Know version 1 of each model."""
    return MODELS.get(name) if version in (None, 1) else None


def make_catalog(*graphs: Graph) -> Catalog:
    """Make a catalog of the models above, and these workflows."""
    by_name = {graph.name: graph for graph in graphs}
    return Catalog(
        signature_of=signature_of,
        model_names=tuple(MODELS),
        workflow_of=lambda name, version: by_name.get(name) if version in (None, 1) else None,
        workflow_names=tuple(by_name),
        function_modules=("shop.tools",),
    )


def build(text: str, *graphs: Graph) -> Graph:
    """Build a graph from YAML."""
    catalog = make_catalog(*graphs)
    return build_graph(
        load_document(text, "test.yaml"),
        signature_of=catalog.signature_of,
        model_names=catalog.model_names,
        workflow_of=catalog.workflow_of,
        workflow_names=catalog.workflow_names,
        function_modules=catalog.function_modules,
        source=text,
    )


def find_faults(text: str, *graphs: Graph) -> list[str]:
    """Give every fault of a file as `line:column: message`. There must be one."""
    with pytest.raises(InvalidWorkflow) as caught:
        build(text, *graphs)
    faults = caught.value.faults
    assert all(fault.file == "test.yaml" for fault in faults)
    return [f"{fault.line}:{fault.column}: {fault.message}" for fault in faults]


def with_node(node: str, *, outputs: str = "{{ a }}", inputs: str = "{}") -> str:
    """Write a workflow of one node, `a`, in flow style on line 3."""
    return f"name: w\nnodes:\n  a: {node}\noutputs: {{o: '{outputs}'}}\ninputs: {inputs}\n"


def to_document(data: object) -> Document:
    """Make a document that stands at one place of a file."""
    return Document(data=data, file="test.yaml", marks={"": (7, 3)})
