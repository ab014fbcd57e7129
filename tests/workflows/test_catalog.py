"""Catalog: what nodes can call."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import build, make_catalog, with_node

from torchloom_workflows.catalog import Catalog


@pytest.mark.parametrize(
    ("path", "is_allowed"),
    [
        ("shop.tools:price", True),
        ("shop.tools.tax:rate", True),
        ("shop:price", False),
        ("shop.toolset:price", False),
        ("os:system", False),
    ],
)
def test_allows_functions_of_modules_and_what_is_below(path: str, is_allowed: object) -> None:
    """A module allows its own functions, and those of the modules in it."""
    assert make_catalog().allows_function(path) is is_allowed


def test_lists_workflows_below() -> None:
    """Workflows are followed through others, and a circle ends the search."""
    inner = build(with_node("{template: x}").replace("name: w", "name: inner"))
    outer = build("name: outer\nnodes: {a: {workflow: inner}}\noutputs: {o: '{{ a.o }}'}\n", inner)
    assert list(make_catalog(inner, outer).workflows_below("outer", None)) == ["inner"]
    looped = Catalog(signature_of=lambda _n, _v: None, workflow_of=lambda _n, _v: outer)
    assert list(looped.workflows_below("outer", None)) == ["inner", "inner"]
