"""Graph: a workflow that has been checked, as a networkx DAG of nodes. Knows no YAML and no Jinja2.

The edges follow from what each node's bindings read, plus `after`; they are never written twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import msgspec
import networkx as nx

from torchloom.errors import CyclicGraph
from torchloom.policy import CachePolicy, RetryPolicy
from torchloom.signature import Schema, Signature


class MissingValue(Exception):
    """A binding read a node that was skipped, without a `default()`."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.node = node


class Binding(Protocol):
    """A value that is worked out from the results of earlier nodes."""

    @property
    def reads(self) -> frozenset[str]:
        """Names of the nodes that it reads."""
        ...

    def evaluate(self, scope: Mapping[str, object]) -> object:
        """Work it out, purely and within bounds of time and size.

        `scope` holds `inputs`, the outputs of each finished node, and in a foreach `item` and
        `index`; skipped nodes are absent.

        Raises MissingValue, or InvalidInput where the expression fails.
        """
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    """A Binding that reads nothing."""

    value: object
    reads: frozenset[str] = frozenset()

    def evaluate(self, scope: Mapping[str, object]) -> object:  # noqa: ARG002 - the protocol's face
        """Give the value."""
        return self.value


class ModelCall(msgspec.Struct, frozen=True):
    """Call a model; the traffic split picks the version where none is named."""

    model: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """Work a binding out in the scheduler's process: gives `value`, a string as `text` too."""

    template: Binding


@dataclass(frozen=True, slots=True)
class WorkflowCall:
    """Run another graph as one node; its outputs are the node's. `repeat_until` loops it, bounded.

    `repeat_until` reads the sub-workflow's outputs under the name `outputs`; with it, each round's
    outputs are laid over the inputs of the next.
    """

    workflow: str
    version: int | None = None
    repeat_until: Binding | None = None
    max_repeats: int = 1


Call = ModelCall | TemplateCall | WorkflowCall


@dataclass(frozen=True, slots=True)
class Items:
    """How a text stream is cut into items: by line, as a JSON list, or by each match of a regex."""

    by: Literal["lines", "json", "regex"]
    pattern: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What takes the place of a node that failed for good: a value, or another model's answer."""

    value: Mapping[str, object] | None = None
    model: ModelCall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One place in a graph.

    With `foreach`, one task an item, and each output is the list of the items' outputs, in order.
    `live` names the node whose `items` the foreach goes through while that node still writes them:
    one that itself has no foreach, and of which this node reads and awaits nothing else. `outputs`
    are the names that it is known to give (empty: not known beforehand).
    """

    name: str
    call: Call
    inputs: Mapping[str, Binding] = field(default_factory=dict)
    params: Mapping[str, Binding] = field(default_factory=dict)
    foreach: Binding | None = None
    live: str | None = None
    limit: Binding | None = None
    items: Items | None = None
    when: Binding | None = None
    after: frozenset[str] = frozenset()
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_s: float | None = None
    fallback: Fallback | None = None
    cache: CachePolicy | None = None
    priority: int | None = None
    device: str | None = None
    outputs: tuple[str, ...] = ()

    @property
    def reads(self) -> frozenset[str]:
        """Names of the nodes whose results it reads."""
        single = (self.foreach, self.limit, self.when)
        bindings = [*self.inputs.values(), *self.params.values(), *(b for b in single if b)]
        if isinstance(self.call, TemplateCall):
            bindings.append(self.call.template)
        return frozenset().union(*(binding.reads for binding in bindings))

    @property
    def needs(self) -> frozenset[str]:
        """Names of the nodes that must be settled before it starts."""
        return self.reads | self.after


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A checked workflow: nodes, outputs, and who reads what. Immutable.

    `source` is the text that it came from, kept so that a restart restores exactly what was
    registered. Raises CyclicGraph where nodes wait for each other.
    """

    name: str
    version: int = 1
    description: str = ""
    signature: Signature
    nodes: Mapping[str, Node]
    outputs: Mapping[str, Binding]
    stream: tuple[str, ...] = ()
    chat: Mapping[str, Binding] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse cycles."""
        try:
            cycle = nx.find_cycle(self.dag)
        except nx.NetworkXNoCycle:
            return
        path = " → ".join([*(edge[0] for edge in cycle), cycle[0][0]])
        message = f"Workflow {self.name!r}: these nodes wait for each other: {path}."
        raise CyclicGraph(message)

    @property
    def label(self) -> str:
        """Name and version as users write them: `rag@1`."""
        return f"{self.name}@{self.version}"

    @cached_property
    def dag(self) -> nx.DiGraph[str]:
        """The nodes as a networkx graph; an edge goes from what is needed to what needs it."""
        dag: nx.DiGraph[str] = nx.DiGraph()
        dag.add_nodes_from(self.nodes)
        dag.add_edges_from(
            (need, node.name) for node in self.nodes.values() for need in self.needs[node.name]
        )
        return dag

    @cached_property
    def needs(self) -> Mapping[str, frozenset[str]]:
        """What each node needs: worked out once for all runs."""
        return {name: node.needs for name, node in self.nodes.items()}

    @cached_property
    def reads(self) -> Mapping[str, frozenset[str]]:
        """What each node reads: worked out once for all runs."""
        return {name: node.reads for name, node in self.nodes.items()}

    @cached_property
    def num_needs(self) -> Mapping[str, int]:
        """How many nodes each node needs: worked out once for all runs."""
        return {name: len(needs) for name, needs in self.needs.items()}

    @cached_property
    def followers(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the nodes that need each node: worked out once for all runs."""
        return {name: tuple(self.dag.successors(name)) for name in self.nodes}

    @cached_property
    def sources(self) -> frozenset[str]:
        """Names of the nodes whose items others take while they are written."""
        return frozenset(node.live for node in self.nodes.values() if node.live is not None)

    @cached_property
    def readers(self) -> Counter[str]:
        """How many nodes and outputs read each node's result; after the last it is dropped."""
        readers: Counter[str] = Counter()
        for node in self.nodes.values():
            readers.update(self.reads[node.name])
        for binding in self.outputs.values():
            readers.update(binding.reads)
        return readers

    def with_defaults(self, inputs: Mapping[str, object]) -> dict[str, object]:
        """Fill in the declared defaults of inputs that are not given."""
        schemas = self.signature.inputs
        defaults = {name: s["default"] for name, s in schemas.items() if "default" in s}
        return {**defaults, **inputs}

    @property
    def workflow_calls(self) -> list[WorkflowCall]:
        """The calls of other workflows."""
        return [n.call for n in self.nodes.values() if isinstance(n.call, WorkflowCall)]

    @cached_property
    def models(self) -> frozenset[str]:
        """Names of the models that its nodes call, fallbacks included."""
        calls = [node.call for node in self.nodes.values()]
        spare = [node.fallback.model for node in self.nodes.values() if node.fallback]
        return frozenset(c.model for c in (*calls, *spare) if isinstance(c, ModelCall))


__all__ = [
    "Binding",
    "Call",
    "Constant",
    "Fallback",
    "Graph",
    "Items",
    "MissingValue",
    "ModelCall",
    "Node",
    "Schema",
    "TemplateCall",
    "WorkflowCall",
]
