"""WorkflowTable: the workflows that are served, as TorchServe names them. Knows no HTTP.

Each is a graph of the registry, version 1 of its name, which the native API may remove, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from torchloom.errors import UnknownWorkflow
from torchloom.graph import Graph
from torchloom.orchestrator import Orchestrator
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.frontend_error import FrontendError
from torchloom_api.torchserve.workflow.document import name_nodes
from torchloom_api.torchserve.workflow.specification import Specification


#: The version that a workflow of TorchServe, which knows none, has in the registry.
VERSION: Final = 1


@dataclass(slots=True, kw_only=True, eq=False)
class ServedWorkflow:
    """A workflow. `nodes` are its models, with functions. `fetched`: a file to remove with it."""

    url: str
    specification: Specification
    nodes: Sequence[Served] = ()
    fetched: Path | None = None
    is_loading: bool = True
    #: A node's name in the graph → in the dag.
    names: Mapping[str, str] = field(init=False)
    #: The nodes that nothing comes after: their names in the graph, in the dag's order.
    leaves: Sequence[str] = field(init=False)
    #: The nodes' names in the graph → the models that they call, once these are there.
    models: Mapping[str, Served] = field(init=False)

    def __post_init__(self) -> None:
        """Work out, once, what each answer needs."""
        graph = self.specification.graph
        names = name_nodes(graph)
        self.names = {name: node for node, name in names.items()}
        self.leaves = [names[node] for node in graph if not graph.out_degree(node)]
        self.serve(self.nodes)

    def serve(self, nodes: Sequence[Served]) -> None:
        """Take its models in."""
        self.nodes = nodes
        models = {each.name: each for each in nodes}
        names = {each: self.specification.model_name(node) for each, node in self.names.items()}
        self.models = {each: models[name] for each, name in names.items() if name in models}

    @property
    def name(self) -> str:
        """Give its name."""
        return self.specification.name


class WorkflowTable:
    """Name → ServedWorkflow. `on_gone` is told of those that were removed elsewhere."""

    def __init__(
        self, orchestrator: Orchestrator, *, on_gone: Callable[[ServedWorkflow], None]
    ) -> None:
        self._orchestrator = orchestrator
        self._on_gone = on_gone
        self._workflows: dict[str, ServedWorkflow] = {}

    def put(self, served: ServedWorkflow) -> None:
        """Take one in. Raises FrontendError where there is one of its name, of the registry too."""
        known = {graph.name for graph in self._orchestrator.workflows()}
        self._sweep()
        if served.name in self._workflows or served.name in known:
            message = f"Workflow {served.name} is already registered."
            raise FrontendError(409, "ConflictStatusException", message)
        self._workflows[served.name] = served

    def drop(self, served: ServedWorkflow) -> None:
        """Forget one."""
        if self._workflows.get(served.name) is served:
            del self._workflows[served.name]

    def find(self, name: str) -> tuple[ServedWorkflow, Graph]:
        """Give one, and its graph. Raises FrontendError: there is none."""
        served = self._workflows.get(name)
        graph = None if served is None or served.is_loading else self._graph(served)
        if served is None or graph is None:
            message = f"Workflow not found: {name}"
            raise FrontendError(404, "WorkflowNotFoundException", message)
        return served, graph

    def served(self) -> Sequence[ServedWorkflow]:
        """List those that serve, by name."""
        self._sweep()
        return [each for _, each in sorted(self._workflows.items()) if not each.is_loading]

    def _sweep(self) -> None:
        for served in list(self._workflows.values()):
            if not served.is_loading:
                self._graph(served)

    def _graph(self, served: ServedWorkflow) -> Graph | None:
        """Give its graph; where that is gone, forget it."""
        try:
            return self._orchestrator.workflow(served.name, VERSION)
        except UnknownWorkflow:
            self.drop(served)
            self._on_gone(served)
            return None
