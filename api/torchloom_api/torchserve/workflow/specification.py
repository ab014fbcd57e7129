"""Specification: what a workflow archive says: settings, models, and the dag of its nodes.

Reads the archive's small texts within bounds, and checks what TorchServe checks. Runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final, Literal

import networkx as nx

from torchloom_api.torchserve.archive_file import ArchiveFile, UnreadableArchive


Setting = Literal[
    "min-workers", "max-workers", "batch-size", "max-batch-delay", "retry-attempts", "timeout-ms"
]

#: What TorchServe takes where the specification is silent.
_DEFAULTS: Final[Mapping[Setting, int]] = MappingProxyType(
    {
        "min-workers": 1,
        "max-workers": 1,
        "batch-size": 1,
        "max-batch-delay": 50,
        "retry-attempts": 1,
        "timeout-ms": 10_000,
    }
)

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,9}")


class InvalidDag(UnreadableArchive):
    """The nodes make no graph that could run."""

    title = "The workflow's dag is not valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One node: a model at a `url`, or a function of the workflow's handler.

    `handler` names that as archives do: `functions:start`. `workers` are the most that the
    specification allows: so many TorchServe starts.
    """

    name: str
    model_name: str
    url: str | None
    handler: str | None
    workers: int
    batch_size: int
    max_batch_delay_ms: int
    attempts: int
    timeout_s: float

    @property
    def is_function(self) -> bool:
        """Tell a function of the handler from a model."""
        return self.url is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """A workflow's archive, read and checked. `dag`: node → those that come after it, as written.

    `settings` are the workflow's own; `models` hold what single ones say.
    """

    name: str
    handler: str | None
    settings: Mapping[Setting, int]
    models: Mapping[str, Mapping[str, object]]
    dag: Mapping[str, Sequence[str]]

    @classmethod
    def read(cls, path: Path, *, name: str | None = None) -> Specification:
        """Read an archive; `name` goes before its own.

        Raises UnreadableArchive: InvalidDag for a dag that TorchServe refuses.
        """
        archive = ArchiveFile(path)
        archive.check_names()
        manifest = archive.manifest("WAR-INF")
        said = (manifest or {}).get("workflow")
        if not isinstance(said, dict) or not said.get("specFile"):
            raise UnreadableArchive("its manifest names no specFile.")
        document = archive.mapping(str(said["specFile"]))
        models = document.get("models")
        if not isinstance(models, dict):
            raise UnreadableArchive("its specification has no `models`.")
        specification = cls(
            name=str(name or said.get("workflowName") or path.stem),
            handler=str(said["handler"]) if said.get("handler") else None,
            settings={key: _count(key, models.get(key, _DEFAULTS[key])) for key in _DEFAULTS},
            models={str(key): each for key, each in models.items() if isinstance(each, dict)},
            dag=_read_dag(document.get("dag")),
        )
        for node in specification.nodes:
            if node.url == "":
                raise UnreadableArchive(f"its model {node.name!r} has no url.")
        if specification.functions and specification.handler is None:
            names = ", ".join(specification.functions)
            raise UnreadableArchive(f"it has no handler that could hold {names}.")
        return specification

    @property
    def graph(self) -> nx.DiGraph[str]:
        """Give the dag as a graph."""
        return _to_graph(self.dag)

    @property
    def nodes(self) -> Sequence[NodeSpec]:
        """Give the nodes, in the order in which the dag names them."""
        return [self.node(name) for name in self.graph]

    @property
    def functions(self) -> list[str]:
        """Name the nodes that are functions of the handler."""
        return [node for node in self.graph if node not in self.models]

    @property
    def handler_stem(self) -> str:
        """Name the handler's module; its folders count for nothing."""
        return PurePosixPath(self.handler or "").name.removesuffix(".py")

    def model_name(self, node: str) -> str:
        """Name a node's model as TorchServe does."""
        return f"{self.name}__{node}"

    def node(self, name: str) -> NodeSpec:
        """Describe a node; functions have one worker each, and no batches."""
        is_model = name in self.models
        retries = max(self._setting(name, "retry-attempts"), 0)  # after the first attempt
        spec = NodeSpec(
            name=name,
            model_name=self.model_name(name),
            url=None,
            handler=None,
            workers=self._setting(name, "max-workers") if is_model else 1,
            batch_size=max(self._setting(name, "batch-size"), 1) if is_model else 1,
            max_batch_delay_ms=self._setting(name, "max-batch-delay") if is_model else 0,
            attempts=retries + 1,
            timeout_s=self._setting(name, "timeout-ms") / 1000,
        )
        if is_model:
            url = self.models[name].get("url")
            return replace(spec, url=url if isinstance(url, str) else "")
        return replace(spec, handler=f"{self.handler_stem}:{name}")

    def _setting(self, node: str, key: Setting) -> int:
        """Give a setting of a node: its own, or the workflow's."""
        own = self.models.get(node, {}).get(key)
        return self.settings[key] if own is None else _count(key, own)


def _read_dag(document: object) -> dict[str, list[str]]:
    """Read the dag. Raises InvalidDag, in TorchServe's words where it has any."""
    if not isinstance(document, dict):
        raise InvalidDag("The specification has no `dag` that is a mapping.")
    dag: dict[str, list[str]] = {}
    for key, after in document.items():
        node = _name(key)
        if after is not None and not isinstance(after, list):
            message = f"What comes after the node {node!r} of the dag is no list."
            raise InvalidDag(message)
        dag[node] = [_name(each) for each in after or ()]
        if node in dag[node]:
            raise InvalidDag("Self loop exception")
    graph = _to_graph(dag)
    if sum(1 for node in graph if not graph.in_degree(node)) != 1:
        raise InvalidDag("DAG should have only one start node")
    if not nx.is_directed_acyclic_graph(graph):
        raise InvalidDag("Not a valid DAG")
    return dag


def _to_graph(dag: Mapping[str, Sequence[str]]) -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    for node, after in dag.items():
        graph.add_node(node)
        graph.add_edges_from((node, each) for each in after)
    return graph


def _name(value: object) -> str:
    """Give a node's name, which is a word: of a list, its text may be endless."""
    if not isinstance(value, str | int | float):
        raise InvalidDag("The dag has a node whose name is no text.")
    return str(value)


def _count(key: str, value: object) -> int:
    text = str(value) if isinstance(value, str | int | float) else type(value).__name__
    if not _WHOLE.fullmatch(text):
        raise UnreadableArchive(f"`{key}: {text[:80]}` is no whole number.")
    number = int(text)
    if number < 0:
        raise UnreadableArchive(f"`{key}: {number}` is below 0.")
    return number
