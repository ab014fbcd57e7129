"""Document: a workflow of TorchServe as a workflow file of ours; migrations write the same one.

Between nodes goes what TorchServe would send: the bytes, as `body`, or by the names of several.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Final

import networkx as nx

from torchloom_api.torchserve.workflow.specification import NodeSpec, Specification


#: The output that holds the bytes of each leaf, by the leaf's name here.
BODIES: Final = "bodies"

_NO_WORD: Final = re.compile(r"\W", re.ASCII)
_MAX_NAME: Final = 60

#: Words that mean something else where a node's name is read.
_TAKEN: Final = frozenset(
    {*("inputs", "item", "index", "outputs", BODIES), *("true", "false", "none", "not", "in", "is")}
)


def name_nodes(nodes: Iterable[str]) -> dict[str, str]:
    """Give each node of the dag the name that it has in the workflow file."""
    names: dict[str, str] = {}
    used = set(_TAKEN)
    for node in nodes:
        word = _NO_WORD.sub("_", node)[:_MAX_NAME] or "node"
        word = f"_{word}" if word[0].isdigit() or keyword.iskeyword(word) else word
        name, count = word, 1
        while name.lower() in used:
            count += 1
            name = f"{word}_{count}"
        used.add(name.lower())
        names[node] = name
    return names


def to_workflow_file(
    specification: Specification, *, with_bodies: bool = False
) -> dict[str, object]:
    """Write the workflow. The first node's row holds `body`, or all `fields` where there are some.

    `with_bodies` adds the bytes of each leaf to the outputs, in an output of their own.
    """
    graph = specification.graph
    names = name_nodes(graph)
    order = nx.lexicographical_topological_sort(graph)
    leaves = [node for node in graph if not graph.out_degree(node)]
    outputs: dict[str, object] = {names[leaf]: f"{{{{ {names[leaf]}.value }}}}" for leaf in leaves}
    if with_bodies:
        outputs[BODIES] = {names[leaf]: f"{{{{ {names[leaf]}.body }}}}" for leaf in leaves}
    return {
        "name": specification.name,
        "inputs": {
            "body": {"default": None},
            "fields": {"type": ["object", "null"], "default": None},
            "headers": {"type": "object", "default": {}},
            "content_types": {"type": "object", "default": {}},
            "request_id": {"type": "string", "default": ""},
        },
        "nodes": {
            names[node]: _to_node(
                specification.node(node), [(each, names[each]) for each in graph.predecessors(node)]
            )
            for node in order
        },
        "outputs": outputs,
    }


def _to_node(spec: NodeSpec, before: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Write a node; `before`: those that it takes from, each with its name here."""
    params: dict[str, object] = {
        "headers": "{{ inputs.headers }}",
        "request_id": "{{ inputs.request_id }}",
    }
    sources = dict(before)
    if not sources:
        params["fields"] = "{{ inputs.fields }}"
        params["content_types"] = "{{ inputs.content_types }}"
    node: dict[str, object] = {
        "model": spec.model_name,
        "inputs": _to_inputs(sources),
        "params": params,
    }
    if spec.timeout_s:
        node["timeout_s"] = spec.timeout_s
    if spec.attempts > 1:
        node["retry"] = {"attempts": spec.attempts}
    return node


def _to_inputs(sources: Mapping[str, str]) -> dict[str, object]:
    if not sources:
        return {"body": "{{ inputs.body }}"}
    if len(sources) == 1:
        return {"body": f"{{{{ {next(iter(sources.values()))}.body }}}}"}
    return {node: f"{{{{ {name}.body }}}}" for node, name in sorted(sources.items())}
