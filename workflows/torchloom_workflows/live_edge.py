"""LiveEdge: whether a foreach can take the items of a node while that node still writes them.

Found in the drafts of the nodes; knows neither how items are cut nor how nodes run.
"""

from __future__ import annotations

from collections.abc import Mapping

from torchloom_workflows.binding import PathExpression
from torchloom_workflows.call import Target
from torchloom_workflows.draft import Draft
from torchloom_workflows.setting import to_mapping


def find_source(draft: Draft, drafts: Mapping[str, Draft]) -> str | None:
    """Name the node whose items the draft's foreach takes live; None where it waits for its list.

    The foreach must be exactly `{{ NODE.items }}`, and NODE give its items while it writes them.
    If anything else of the draft reads NODE, or it comes `after` it, it needs NODE's end anyway.
    """
    foreach = draft.values.get("foreach")
    if foreach is None or not isinstance(foreach.binding, PathExpression):
        return None
    source = foreach.binding.name
    if foreach.binding.keys != ("items",) or source not in drafts:
        return None
    num_reads = sum(read.read.name == source for read in draft.reads)
    if num_reads > 1 or source in draft.after or not _writes_items(drafts[source]):
        return None
    return source


def _writes_items(draft: Draft) -> bool:
    """Tell whether a node gives its items one by one, rather than a list of lists of them."""
    return not draft.is_foreach and ("items" in draft.sound or _streams_values(draft.target))


def _streams_values(target: Target) -> bool:
    """Tell whether the chunks of a call are the values of its output: a generator's.

    That it has an output `items` is for those to check who look up what is read.
    """
    if target.signature is None:
        # A function that nobody has deployed yet may be a generator.
        return target.kind == "function"
    chunks = to_mapping(target.signature.chunks)
    return "data" in to_mapping(chunks.get("properties"))
