"""Graph: a checked workflow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from loom_fakes.graphs import bind, make_graph, model_node, to_binding

from torchloom.errors import CyclicGraph
from torchloom.graph import (
    Constant,
    Fallback,
    Graph,
    ModelCall,
    Node,
    TemplateCall,
    WorkflowCall,
)
from torchloom.signature import Signature


def test_takes_its_edges_from_what_nodes_read() -> None:
    """Every binding of a node counts, and `after`; edges go from what is needed."""
    node = Node(
        name="all",
        call=TemplateCall(to_binding("$a.text")),
        inputs=bind(x="$b.text"),
        params=bind(y="$c.text"),
        foreach=to_binding("$d.items"),
        limit=to_binding("$e.number"),
        when=to_binding("$f.flag"),
        after=frozenset({"g"}),
    )
    graph = make_graph(*(model_node(name) for name in "abcdefg"), node)
    assert node.reads == frozenset("abcdef")
    assert node.needs == frozenset("abcdefg")
    assert set(graph.dag.edges) == {(name, "all") for name in "abcdefg"}


def test_refuses_nodes_that_wait_for_each_other() -> None:
    """A cycle is printed as a path that ends where it began."""
    with pytest.raises(CyclicGraph, match="wait for each other: a → b → a"):
        make_graph(model_node("a", x="$b.text"), model_node("b", x="$a.text"))
    with pytest.raises(CyclicGraph, match="a → a"):
        make_graph(model_node("a", x="$a.text"))


def test_counts_the_readers_of_each_result() -> None:
    """Nodes and outputs are readers; `after` is none."""
    graph = make_graph(
        model_node("a"),
        model_node("b", x="$a.text", y="$a.text"),
        replace(model_node("c", x="$b.text"), after=frozenset({"a"})),
        outputs={"one": "$a.text", "two": "$c.text"},
    )
    assert graph.readers == {"a": 2, "b": 1, "c": 1}


def test_knows_whose_items_are_taken_live() -> None:
    """A live edge is an edge like others, and a fact of its reader."""
    graph = make_graph(
        model_node("a"),
        replace(model_node("b", x="$item"), foreach=to_binding("$a.items"), live="a"),
        replace(model_node("c", x="$item"), foreach=to_binding("$b.items")),
    )
    assert graph.sources == {"a"}
    assert set(graph.dag.edges) == {("a", "b"), ("b", "c")}


def test_names_the_models_and_workflows_that_it_calls() -> None:
    """Fallbacks count as calls: what they name must be there as well."""
    graph = make_graph(
        model_node("a", model="llama"),
        replace(model_node("b"), fallback=Fallback(model=ModelCall("spare"))),
        replace(model_node("c"), fallback=Fallback(value={})),
        Node(name="d", call=WorkflowCall("inner", 2)),
        Node(name="e", call=TemplateCall(Constant("hi"))),
    )
    assert graph.models == {"llama", "echo", "spare"}
    assert graph.workflow_calls == [WorkflowCall("inner", 2)]
    assert graph.label == "flow@1"


def test_fills_in_declared_defaults() -> None:
    """An input that is not given takes its default; one that is given keeps its value."""
    signature = Signature(inputs={"question": {}, "top_k": {"default": 4}, "seed": {"default": 0}})
    graph = Graph(name="flow", signature=signature, nodes={}, outputs={})
    given = {"question": "why", "seed": 7}
    assert graph.with_defaults(given) == {"question": "why", "top_k": 4, "seed": 7}


def test_gives_a_constant_whatever_the_scope() -> None:
    """A constant reads nothing."""
    assert Constant(5).evaluate({}) == 5
    assert Constant(5).reads == frozenset()
