"""A Reader for tests: tiny documents, no models package and no expression language.

A node reads its inputs by `$inputs.NAME` and `$NODE.NAME`, and `chat` the last message by
`$messages.content`; anything else is a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torchloom.deployment import Deployment
from torchloom.document import Document
from torchloom.errors import InvalidInput, InvalidModel, InvalidWorkflow, nearest
from torchloom.graph import Binding, Constant, Graph, ModelCall, Node, WorkflowCall
from torchloom.orchestrator import Orchestrator
from torchloom.policy import QueuePolicy
from torchloom.signature import Signature
from torchloom_api.reader import Draft
from torchloom_models.kind import KINDS
from torchloom_workflows.loader import load_document


class Reference:
    """`$inputs.question`, `$query.embedding`."""

    def __init__(self, text: str) -> None:
        self._owner, _, self._key = text[1:].partition(".")
        is_outside = self._owner in ("inputs", "messages")
        self.reads = frozenset() if is_outside else frozenset({self._owner})

    def evaluate(self, scope: Mapping[str, object]) -> object:
        """Work it out. Raises InvalidInput where the last message lacks what is read."""
        value = scope[self._owner]
        if isinstance(value, list):
            value = value[-1]
        try:
            return value[self._key]  # type: ignore[index]  # a test's own document
        except KeyError:
            raise InvalidInput(f"There is no {self._key!r} here.") from None


def _bind(value: object) -> Binding:
    is_reference = isinstance(value, str) and value.startswith("$")
    return Reference(value) if is_reference else Constant(value)


ANY = Signature(is_open=True)


class DoubleReader:
    """Reads `{name, version, factory}` and `{name, version, inputs, nodes, outputs, stream}`."""

    def is_workflow(self, text: bytes, file: Path) -> bool:
        """Tell a workflow from a model."""
        return isinstance(self._load(text, str(file)), dict) and b"nodes" in text

    def read_model(self, text: str | bytes, file: Path | None) -> Deployment:
        """Check a model."""
        document = load_document(text, str(file) if file else None, error=InvalidModel)
        return self._to_model(document)

    def read_workflow(
        self, text: str | bytes, file: Path | None, orchestrator: Orchestrator
    ) -> Draft:
        """Check a workflow."""
        document = load_document(text, str(file) if file else None)
        data = document.data
        if not isinstance(data, dict):
            raise InvalidWorkflow("A workflow is a mapping.", faults=[document.fault("no mapping")])
        models = tuple(
            self._to_model(document.part("models", name), name) for name in data.get("models", {})
        )
        self._refuse_unknown(document, {m.name for m in models}, orchestrator)
        text = text.decode() if isinstance(text, bytes) else text
        return Draft(graph=self._to_graph(data, text), models=models)

    def read_source(self, source: str) -> str:
        """Take any source but one."""
        if source == "/etc":
            raise InvalidInput("Not from there.")
        return source

    def _load(self, text: str | bytes, file: str | None) -> object:
        return load_document(text, file).data

    def _to_model(self, document: Document, name: str = "") -> Deployment:
        data = document.data
        known = ("name", "version", "factory", "kind", "params", "signature", "queue", "config")
        faults = (
            [
                document.fault(f"Unknown key {k!r}.{nearest(k, known)}", k, at_key=True)
                for k in data
                if k not in known
            ]
            if isinstance(data, dict)
            else [document.fault("A model is a mapping.")]
        )
        if faults:
            raise InvalidModel(f"The model file is not valid: {faults[0]}", faults=faults)
        assert isinstance(data, dict)
        kind = data.get("kind", "test")
        known_kind = KINDS[kind].signature if kind in KINDS else ANY
        module = "text_engines" if kind in KINDS else "engines"
        return Deployment(
            name=data.get("name", name),
            version=data.get("version", 1),
            kind=kind,
            factory=f"api_fakes.{module}:open_{data['factory']}",
            signature=to_signature(data["signature"]) if "signature" in data else known_kind,
            params=data.get("params", {}),
            config=data.get("config", {}),
            queue=QueuePolicy(max_size=data.get("queue", 1000)),
            is_inline=True,
        )

    def _refuse_unknown(
        self, document: Document, brought: set[str], orchestrator: Orchestrator
    ) -> None:
        known = brought | {status.deployment.name for status in orchestrator.models()}
        nodes = document.data["nodes"]  # type: ignore[index]  # a test's own document
        faults = [
            document.fault(
                f"unknown model {n['model']!r}.{nearest(n['model'], known)}", "nodes", k, "model"
            )
            for k, n in nodes.items()
            if "model" in n and n["model"] not in known
        ]
        if faults:
            raise InvalidWorkflow(f"The workflow is not valid: {faults[0]}", faults=faults)

    def _to_graph(self, data: dict[str, object], text: str) -> Graph:
        nodes = {
            name: Node(
                name=name,
                call=ModelCall(n["model"]) if "model" in n else WorkflowCall(n["workflow"]),
                inputs={k: _bind(v) for k, v in n.get("inputs", {}).items()},
                params={k: _bind(v) for k, v in n.get("params", {}).items()},
            )
            for name, n in data["nodes"].items()  # type: ignore[attr-defined]  # a test's own document
        }
        return Graph(
            name=str(data["name"]),
            version=int(str(data.get("version", 1))),
            description=str(data.get("description", "")),
            signature=to_signature(data),
            nodes=nodes,
            outputs={k: _bind(v) for k, v in data.get("outputs", {}).items()},  # type: ignore[attr-defined]  # the same
            stream=tuple(data.get("stream", ())),  # type: ignore[arg-type]  # the same
            chat={k: _bind(v) for k, v in data.get("chat", {}).items()},  # type: ignore[attr-defined]  # the same
            source=text,
        )


def to_signature(data: Mapping[str, object]) -> Signature:
    """Read `inputs` with JSON Schemas; those without a default are required."""
    inputs = data.get("inputs", {})
    assert isinstance(inputs, dict)
    required = frozenset(n for n, schema in inputs.items() if "default" not in schema)
    return Signature(inputs=inputs, required=required)
