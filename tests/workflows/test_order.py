"""Order: who waits for whom, and whom nobody needs."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import build, find_faults

from torchloom.errors import CyclicGraph


def _workflow(nodes: dict[str, str], *, output: str = "x", more: str = "") -> str:
    lines = "".join(f"  {name}: {node}\n" for name, node in nodes.items())
    return f"name: w\noutputs: {{o: '{output}'}}\nnodes:\n{lines}{more}"


def _template(*reads: str) -> str:
    return "{template: '" + " ".join(f"{{{{ {name}.text }}}}" for name in reads) + " .'}"


@pytest.mark.parametrize(
    ("nodes", "faults"),
    [
        ({"a": _template("a")}, ["4:3: Node 'a' waits for itself."]),
        (
            {"a": _template("b"), "b": _template("c"), "c": _template("a")},
            ["4:3: These nodes wait for each other: a → c → b → a."],
        ),
        (
            {"a": "{template: x, after: b}", "b": _template("a")},
            ["4:3: These nodes wait for each other: a → b → a."],
        ),
        (
            {"a": _template("b"), "b": _template("a"), "c": _template("d"), "d": _template("c")},
            [
                "4:3: These nodes wait for each other: a → b → a.",
                "6:3: These nodes wait for each other: c → d → c.",
            ],
        ),
    ],
)
def test_prints_each_cycle(nodes: dict[str, str], faults: list[str]) -> None:
    """For each knot of nodes that wait for each other, one cycle is printed."""
    found = find_faults(_workflow(nodes))
    assert [fault.partition(": ")[0] for fault in found] == [f.partition(": ")[0] for f in faults]
    for fault, expected in zip(found, faults, strict=True):
        names = fault.partition("other: ")[2].rstrip(".").split(" → ")
        wanted = expected.partition("other: ")[2].rstrip(".").split(" → ")
        assert sorted(names) == sorted(wanted)


def test_raises_cyclic_graph() -> None:
    """A cycle has an error class of its own, and comes with every other fault."""
    with pytest.raises(CyclicGraph) as caught:
        build(_workflow({"a": _template("a"), "b": "{model: lama}"}))
    assert len(caught.value.faults) == 2


def test_finds_nodes_that_nobody_needs() -> None:
    """A node must lead to an output, or to a stream; reading it for order is enough."""
    nodes = {
        "a": _template(),
        "b": _template("a"),
        "lonely": _template("a"),
        "first": _template(),
        "last": "{template: x, after: first}",
        "shown": _template(),
    }
    text = _workflow(nodes, output="{{ b.text }} {{ last.text }}", more="stream: shown\n")
    assert find_faults(text) == [
        (
            "6:3: No output needs node 'lonely', and it is not streamed. Remove it, or read it, or "
            "let another node come `after` it."
        )
    ]


def test_keeps_quiet_while_reads_are_broken() -> None:
    """A read that is broken might be the one that needs the node."""
    faults = find_faults(_workflow({"a": _template(), "b": _template()}, output="{{ bb.text }}"))
    assert len(faults) == 1
    assert "There is nothing named 'bb' here. Did you mean 'b'?" in faults[0]
