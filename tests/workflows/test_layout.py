"""Layout: boxes and lines of a layered drawing."""

from __future__ import annotations

from itertools import combinations, pairwise

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from torchloom_workflows.layout import Box, Layout, lay_out


def _lay_out(edges: list[tuple[str, str]], *, nodes: str = "") -> Layout:
    dag: nx.DiGraph[str] = nx.DiGraph()
    dag.add_nodes_from(nodes)
    dag.add_edges_from(edges)
    return lay_out(dag, dict.fromkeys(dag, (100.0, 40.0)))


def test_puts_what_is_needed_to_the_left() -> None:
    """Each edge goes from a right side to a left side further on."""
    layout = _lay_out([("a", "b"), ("b", "c"), ("a", "c")])
    assert layout.boxes["a"].x < layout.boxes["b"].x < layout.boxes["c"].x
    assert layout.routes["a", "b"] == (layout.boxes["a"].right, layout.boxes["b"].left)


def test_leads_long_edges_around() -> None:
    """An edge over several layers has room of its own in each."""
    layout = _lay_out([("a", "b"), ("b", "c"), ("a", "c")])
    inside = layout.routes["a", "c"][1:-1]
    box = layout.boxes["b"]
    assert len(inside) == 2
    assert all(not box.y <= y <= box.y + box.height for _, y in inside)


def test_crosses_no_more_than_needed() -> None:
    """Layers are sorted by their neighbours."""
    layout = _lay_out([("a", "x"), ("b", "y"), ("c", "z")], nodes="abczyx")
    ys = [layout.boxes[name].y for name in "abcxyz"]
    assert ys[:3] == sorted(ys[:3])
    assert ys[3:] == ys[:3]


def test_draws_nothing_of_nothing() -> None:
    """An empty graph is an empty drawing."""
    assert _lay_out([]).boxes == {}


def test_stays_quick_with_many_long_edges() -> None:
    """Where dummies would be too many, lines are drawn straight through."""
    names = [f"n{i}" for i in range(120)]
    layout = _lay_out([*pairwise(names), *((names[0], name) for name in names[2:])])
    assert len(layout.routes["n0", "n119"]) == 2


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda e: e[0] < e[1]), max_size=20
    )
)
def test_never_lets_boxes_overlap(edges: list[tuple[int, int]]) -> None:
    """Boxes lie apart, inside the picture, and each edge ends at its boxes."""
    layout = _lay_out([(str(start), str(end)) for start, end in edges], nodes="0123456789")
    for one, other in combinations(layout.boxes.values(), 2):
        assert not _overlap(one, other)
    for box in layout.boxes.values():
        assert 0 <= box.x <= layout.width - box.width
        assert 0 <= box.y <= layout.height - box.height
    for (start, end), route in layout.routes.items():
        assert (route[0], route[-1]) == (layout.boxes[start].right, layout.boxes[end].left)
