"""Dependency: which models nodes may call; what would break is refused (see test_orchestrator)."""

from __future__ import annotations

from dataclasses import replace

from loom_fakes.graphs import make_graph, model_node

from torchloom.dependency import models_ahead, refuse_if_called
from torchloom.graph import Fallback, ModelCall, WorkflowCall


def test_names_the_models_that_nodes_may_call() -> None:
    """Fallbacks and whole sub-workflows count; nodes that are done do not."""
    inner = replace(make_graph(model_node("x", "deep")), name="inner")
    spare = Fallback(model=ModelCall("spare"))
    call = replace(model_node("sub", "none"), call=WorkflowCall("inner"))
    outer = make_graph(
        model_node("a", "done"), replace(model_node("b", "own"), fallback=spare), call
    )
    graphs = [inner, outer]
    assert models_ahead(outer, ["b", "sub"], graphs) == {"own", "spare", "deep"}
    assert models_ahead(outer, [], graphs) == set()


def test_lets_a_version_go_that_nobody_names() -> None:
    """A call of any version is served by another that stays."""
    old, new = (make_graph(model_node("x"), name="inner", version=n) for n in (1, 2))
    call = replace(model_node("sub", "none"), call=WorkflowCall("inner"))
    refuse_if_called([old], [old, new, make_graph(call)])
