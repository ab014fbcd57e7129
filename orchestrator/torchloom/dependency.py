"""Dependency: who needs what, between workflows and models; refuses what would break it.

Pure: it is given the graphs that serve. Knows no run and no pool.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from torchloom.errors import Conflict, CyclicGraph, UnknownModel, nearest
from torchloom.graph import Graph, ModelCall, WorkflowCall


def refuse_if_needed(model: str, graphs: Iterable[Graph]) -> None:
    """Raise Conflict for a model that a workflow calls."""
    users = sorted({graph.label for graph in graphs if model in graph.models})
    if users:
        names = ", ".join(repr(user) for user in users)
        message = f"Model {model!r} is used by {names}. Remove that first."
        raise Conflict(message)


def refuse_unknown_models(graph: Graph, known: Collection[str]) -> None:
    """Raise UnknownModel for the first model that a graph calls and nobody has."""
    for model in sorted(graph.models - set(known)):
        message = f"Workflow {graph.name!r}: unknown model {model!r}.{nearest(model, known)}"
        raise UnknownModel(message)


def refuse_recursion(
    graph: Graph, graphs: Collection[Graph], path: tuple[Graph, ...] | None = None
) -> None:
    """Raise CyclicGraph for a graph that would call itself, by whatever way round."""
    path = path or (graph,)
    for call in path[-1].workflow_calls:
        called = [g for g in graphs if g.name == call.workflow]
        for callee in (*called, graph) if graph.name == call.workflow else called:
            if call.version not in {None, callee.version}:
                continue
            if callee is graph:
                way = " → ".join(g.label for g in (*path, graph))
                raise CyclicGraph(f"Workflow {graph.label!r} would call itself: {way}.")
            refuse_recursion(graph, graphs, (*path, callee))


def refuse_if_called(gone: Sequence[Graph], graphs: Iterable[Graph]) -> None:
    """Raise Conflict where a graph that stays calls one of those that go."""
    left = [graph for graph in graphs if graph not in gone]
    names = {graph.name for graph in left}
    served = {(graph.name, graph.version) for graph in left}
    for graph in left:
        for call in graph.workflow_calls:
            is_any = call.version is None and call.workflow in names
            if not is_any and (call.workflow, call.version) not in served:
                message = f"Workflow {call.workflow!r} is called by {graph.label!r}."
                raise Conflict(f"{message} Remove that first.")


def models_ahead(graph: Graph, nodes: Iterable[str], graphs: Collection[Graph]) -> set[str]:
    """Name the models that these nodes may call, fallbacks and whole sub-workflows included."""
    models: set[str] = set()
    for name in nodes:
        node = graph.nodes[name]
        spare = node.fallback.model if node.fallback else None
        for call in (node.call, spare):
            if isinstance(call, ModelCall):
                models.add(call.model)
        if isinstance(node.call, WorkflowCall):
            for callee in graphs:
                if callee.name == node.call.workflow:
                    models |= models_ahead(callee, callee.nodes, graphs)
    return models
