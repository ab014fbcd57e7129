"""Workflow files: TorchServe's specification (models and a dag) as a workflow and its models.

Functions of the workflow become models of kind `handler`, whose source is the unpacked archive:
they are called as TorchServe calls them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

import networkx as nx

from torchloom_api.torchserve.migration.archive_file import ArchiveFile, UnreadableArchive


#: What TorchServe takes where the specification is silent.
_DEFAULTS: Mapping[str, int] = MappingProxyType(
    {
        "min-workers": 1,
        "max-workers": 1,
        "batch-size": 1,
        "max-batch-delay": 50,
        "retry-attempts": 1,
        "timeout-ms": 10_000,
    }
)

_NO_WORD: Final = re.compile(r"\W")


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """A workflow's archive, read and checked: its settings, models, and graph."""

    name: str
    handler: str | None
    settings: Mapping[str, int]
    models: Mapping[str, Mapping[str, object]]
    dag: nx.DiGraph[str]

    @classmethod
    def read(cls, path: Path) -> Specification:
        """Read an archive. Raises UnreadableArchive, also for a dag that TorchServe refuses."""
        archive = ArchiveFile(path)
        manifest = archive.manifest("WAR-INF")
        said = (manifest or {}).get("workflow")
        if not isinstance(said, dict) or not said.get("specFile"):
            raise UnreadableArchive("its manifest names no specFile.")
        document = archive.mapping(str(said["specFile"]))
        models = document.get("models")
        if not isinstance(models, dict):
            raise UnreadableArchive("its specification has no `models`.")
        settings = {
            key: _count(key, models.get(key, default)) for key, default in _DEFAULTS.items()
        }
        return cls(
            name=str(said.get("workflowName") or path.stem),
            handler=str(said["handler"]) if said.get("handler") else None,
            settings=settings,
            models={name: each for name, each in models.items() if isinstance(each, dict)},
            dag=_to_dag(document.get("dag")),
        )

    def setting(self, node: str, key: str) -> int:
        """Give a setting of a node: its own, or the workflow's."""
        own = self.models.get(node, {}).get(key)
        return self.settings[key] if own is None else _count(key, own)

    @property
    def functions(self) -> list[str]:
        """Name the nodes that are functions of the handler."""
        return [node for node in self.dag if node not in self.models]

    def model_name(self, node: str) -> str:
        """Name a node's model as TorchServe does."""
        return f"{self.name}__{node}"


def to_workflow_file(specification: Specification) -> dict[str, object]:
    """Write the workflow: what a node gives goes to the next as its `body`, or by its name."""
    dag = specification.dag
    names = {node: _NO_WORD.sub("_", node) for node in dag}
    leaves = [node for node in dag if not dag.out_degree(node)]
    nodes: dict[str, object] = {}
    for node in nx.lexicographical_topological_sort(dag):
        before = sorted(dag.predecessors(node))
        if not before:
            inputs = {"body": "{{ inputs.body }}"}
        elif len(before) == 1:
            inputs = {"body": f"{{{{ {names[before[0]]}.body }}}}"}
        else:
            inputs = {each: f"{{{{ {names[each]}.body }}}}" for each in before}
        entry: dict[str, object] = {
            "model": specification.model_name(node),
            "inputs": inputs,
            "timeout_s": specification.setting(node, "timeout-ms") / 1000,
        }
        attempts = specification.setting(node, "retry-attempts")
        if attempts > 1:
            entry["retry"] = {"attempts": attempts}
        nodes[names[node]] = entry
    return {
        "name": specification.name,
        "inputs": {"body": {}},
        "nodes": nodes,
        "outputs": {names[leaf]: f"{{{{ {names[leaf]}.value }}}}" for leaf in leaves},
    }


def to_node_model(specification: Specification, node: str, *, source: Path) -> dict[str, object]:
    """Write a node's model file. A function's source is the folder of the unpacked archive."""
    file: dict[str, object] = {
        "name": specification.model_name(node),
        "kind": "handler",
        "source": str(source.resolve()),
        "replicas": {
            "min": max(1, specification.setting(node, "min-workers")),
            "max": max(
                1,
                specification.setting(node, "min-workers"),
                specification.setting(node, "max-workers"),
            ),
        },
        "batching": {
            "max_size": specification.setting(node, "batch-size"),
            "max_wait_s": specification.setting(node, "max-batch-delay") / 1000,
        },
    }
    if node not in specification.models:
        stem = Path(specification.handler or "").stem
        file |= {
            "handler": f"{stem}:{node}",
            "replicas": {"min": 1, "max": 1},
            "batching": {"max_size": 1},
        }
    return file


def _to_dag(document: object) -> nx.DiGraph[str]:
    dag: nx.DiGraph[str] = nx.DiGraph()
    if not isinstance(document, dict) or not document:
        raise UnreadableArchive("its specification has no `dag`.")
    for node, after in document.items():
        dag.add_node(str(node))
        for each in cast("list[object]", after if isinstance(after, list) else []):
            dag.add_edge(str(node), str(each))
    if not nx.is_directed_acyclic_graph(dag):
        raise UnreadableArchive("its dag leads back to where it was (loop exception).")
    starts = [node for node in dag if not dag.in_degree(node)]
    if len(starts) != 1:
        raise UnreadableArchive(f"DAG should have only one start node; it has {sorted(starts)}.")
    return dag


def _count(key: str, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        raise UnreadableArchive(f"`{key}: {value}` is no whole number.") from None
    if number < 0:
        raise UnreadableArchive(f"`{key}: {value}` is below 0.")
    return number
