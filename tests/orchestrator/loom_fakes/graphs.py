"""Short ways to write graphs: bindings by path or by function, and a graph of a few nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torchloom.graph import Binding, Constant, Graph, MissingValue, ModelCall, Node
from torchloom.signature import Signature


@dataclass(frozen=True)
class Path:
    """A Binding that walks down from a node or from `inputs`, `item`, `index`: `answer.text`."""

    path: str
    reads: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Work out what is read."""
        root = self.path.split(".")[0]
        reads = set() if root in {"inputs", "item", "index", "outputs"} else {root}
        object.__setattr__(self, "reads", frozenset(reads))

    def evaluate(self, scope: Mapping[str, object]) -> object:
        """Walk down; MissingValue where the node was skipped."""
        root, *keys = self.path.split(".")
        if root not in scope:
            raise MissingValue(root)
        value = scope[root]
        for key in keys:
            value = value[key]  # type: ignore[index]  # the test knows its values
        return value


@dataclass(frozen=True)
class Computed:
    """A Binding that is a function of the scope."""

    function: Callable[[Mapping[str, object]], object]
    reads: frozenset[str] = frozenset()

    def evaluate(self, scope: Mapping[str, object]) -> object:
        """Call the function."""
        return self.function(scope)


def bind(**values: object) -> dict[str, Binding]:
    """Bind names: a string that starts with `$` is a path, all else a constant."""
    return {name: to_binding(value) for name, value in values.items()}


def to_binding(value: object) -> Binding:
    """Make a binding of a path, a constant or a binding."""
    if isinstance(value, Path | Computed | Constant):
        return value
    if isinstance(value, str) and value.startswith("$"):
        return Path(value[1:])
    return Constant(value)


def model_node(name: str, model: str = "echo", **inputs: object) -> Node:
    """Make a node that calls a model."""
    return Node(name=name, call=ModelCall(model), inputs=bind(**inputs))


def make_graph(
    *nodes: Node,
    outputs: Mapping[str, object] | None = None,
    stream: tuple[str, ...] = (),
    name: str = "flow",
    version: int = 1,
    source: str = "",
) -> Graph:
    """Make a graph; without `outputs`, it gives all of its last node's."""
    if outputs is None:
        outputs = {"result": f"${nodes[-1].name}"} if nodes else {}
    return Graph(
        name=name,
        version=version,
        signature=Signature(is_open=True),
        nodes={node.name: node for node in nodes},
        outputs=bind(**outputs),
        stream=stream,
        source=source,
    )
