"""Order: which nodes wait for which, in a knot perhaps, and which nobody needs. Knows no value."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import networkx as nx

from torchloom.errors import Fault
from torchloom_workflows.draft import Draft


def to_needs(drafts: Mapping[str, Draft]) -> nx.DiGraph[str]:
    """Give the nodes as a graph; an edge goes from what is needed to what needs it."""
    needs: nx.DiGraph[str] = nx.DiGraph()
    needs.add_nodes_from(drafts)
    for name, draft in drafts.items():
        reads = {read.read.name for read in draft.reads} | draft.after
        needs.add_edges_from((need, name) for need in drafts if need in reads)
    return needs


def find_cycles(drafts: Mapping[str, Draft], needs: nx.DiGraph[str]) -> Iterator[Fault]:
    """Find nodes that wait for each other: one cycle, printed, for each knot of them."""
    for knot in nx.strongly_connected_components(needs):
        first = next(name for name in drafts if name in knot)
        if len(knot) == 1 and not needs.has_edge(first, first):
            continue
        names = [edge[0] for edge in nx.find_cycle(needs.subgraph(knot), first)]
        message = f"These nodes wait for each other: {' → '.join([*names, names[0]])}."
        if len(names) == 1:
            message = f"Node {names[0]!r} waits for itself."
        yield drafts[names[0]].document.fault(message, at_key=True)


def find_unneeded(
    drafts: Mapping[str, Draft], needs: nx.DiGraph[str], wanted: Collection[str]
) -> Iterator[Fault]:
    """Find nodes that nothing wanted needs, however far on. What is streamed is wanted, too."""
    ends = drafts.keys() & set(wanted)
    needed = ends.union(*(nx.ancestors(needs, name) for name in ends))
    for name, draft in drafts.items():
        if name not in needed:
            message = (
                f"No output needs node {name!r}, and it is not streamed. Remove it, or read it, or "
                "let another node come `after` it."
            )
            yield draft.document.fault(message, at_key=True)
