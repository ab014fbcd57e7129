"""Catalog: what nodes can call, as whoever composes the server tells it. Knows no file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from torchloom.graph import Graph, WorkflowCall
from torchloom.signature import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Models, workflows and function modules, by name.

    `signature_of` and `workflow_of` take a name and a version (None: any) and give None for what
    does not exist. `inline_names` are models that the file itself declares: they exist, and where
    `signature_of` does not know them, nothing is known of them yet. `devices_of` gives a
    model's devices; None where they are not known.
    """

    signature_of: Callable[[str, int | None], Signature | None]
    workflow_of: Callable[[str, int | None], Graph | None]
    model_names: Collection[str] = ()
    workflow_names: Collection[str] = ()
    function_modules: Collection[str] = ()
    inline_names: Collection[str] = ()
    devices_of: Callable[[str, int | None], Collection[str] | None] = lambda _name, _version: None

    def allows_function(self, path: str) -> bool:
        """Tell whether `package.module:name` is in an allowed module, or in a package of one."""
        module = path.partition(":")[0]
        parts = module.split(".")
        return any(
            ".".join(parts[:end]) in self.function_modules for end in range(1, len(parts) + 1)
        )

    def workflows_below(self, name: str, version: int | None) -> Iterator[str]:
        """Give the names of the workflows that this one calls, directly or through others."""
        seen: set[tuple[str, int | None]] = set()
        waiting = [(name, version)]
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            graph = self.workflow_of(*place)
            for node in graph.nodes.values() if graph else ():
                if isinstance(node.call, WorkflowCall):
                    yield node.call.workflow
                    waiting.append((node.call.workflow, node.call.version))
