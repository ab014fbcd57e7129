"""Builder: a Document to a Graph, or all that is wrong with it. Loads no model, and no framework.

The order: shape, inputs, each node by itself, then what crosses from one to another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import networkx as nx

from torchloom.document import Document
from torchloom.errors import CyclicGraph, Fault, InvalidWorkflow, nearest
from torchloom.graph import Binding, Graph
from torchloom.signature import Schema, Signature
from torchloom_workflows.catalog import Catalog
from torchloom_workflows.chat import check_answer, read_chat
from torchloom_workflows.draft import SCOPE_HINTS, Draft, read_draft
from torchloom_workflows.expression import Names, Parsed, parse_value
from torchloom_workflows.input_schema import check_input
from torchloom_workflows.live_edge import find_source
from torchloom_workflows.order import find_cycles, find_unneeded, to_needs
from torchloom_workflows.reference import Sources, check_paths, check_read, describe
from torchloom_workflows.schema import check_shape
from torchloom_workflows.setting import to_mapping, to_names


#: Values with expressions in them that one file may hold.
MAX_EXPRESSIONS = 2_000


def build_graph(
    document: Document,
    *,
    signature_of: Callable[[str, int | None], Signature | None],
    model_names: Collection[str] = (),
    workflow_of: Callable[[str, int | None], Graph | None] = lambda _name, _version: None,
    workflow_names: Collection[str] = (),
    function_modules: Collection[str] = (),
    devices_of: Callable[[str, int | None], Collection[str] | None] = lambda _name, _version: None,
    source: str = "",
) -> Graph:
    """Check a workflow file and make its graph.

    `signature_of` and `workflow_of` take a name and a version (None: whichever serves) and give
    None for what does not exist, as does `devices_of` where a model's devices are not known.
    Functions may be called in `function_modules` and in the packages
    below them. `source` is the text, kept in the graph. Raises InvalidWorkflow (CyclicGraph, if
    there is a cycle) with every fault, in the order of the file.
    """
    catalog = Catalog(
        signature_of=signature_of,
        model_names=model_names,
        workflow_of=workflow_of,
        workflow_names=workflow_names,
        function_modules=function_modules,
        devices_of=devices_of,
        inline_names=tuple(to_mapping(to_mapping(document.data).get("models"))),
    )
    build = _Build.start(document, catalog)
    if build.faults:
        raise build.to_error()
    return build.to_graph(source)


def inline_models(document: Document) -> list[Document]:
    """Give each model that the file declares under `models`, as a model file of its own.

    What is no mapping is left out: `build_graph` finds that fault.
    """
    models = to_mapping(to_mapping(document.data).get("models"))
    parts = [(name, document.part("models", name)) for name in models]
    return [
        replace(part, data={**part.data, "name": name})
        for name, part in parts
        if isinstance(part.data, dict)
    ]


def function_calls(graph: Graph) -> frozenset[str]:
    """Give the paths, `package.module:name`, of the functions that the graph calls."""
    return frozenset(name for name in graph.models if ":" in name)


@dataclass(slots=True)
class _Build:
    """A graph in the making."""

    document: Document
    sound: Mapping[str, object]
    catalog: Catalog
    faults: list[Fault]
    inputs: dict[str, Schema] = field(default_factory=dict)
    drafts: dict[str, Draft] = field(default_factory=dict)
    outputs: dict[str, Parsed] = field(default_factory=dict)
    chat: dict[str, Parsed] = field(default_factory=dict)
    stream: tuple[str, ...] = ()
    has_cycle: bool = False

    @classmethod
    def start(cls, document: Document, catalog: Catalog) -> _Build:
        faults, sound = check_shape(document)
        build = cls(document, sound, catalog, faults)
        if build._has_too_much():
            return build
        build._read_inputs()
        build._read_models()
        build._read_nodes()
        build._read_outputs()
        build._read_stream()
        build._read_chat()
        build._check_crossings()
        return build

    @property
    def name(self) -> str:
        return str(self.sound.get("name", ""))

    def _written(self, key: str) -> Mapping[str, object]:
        """Give a section as it was written, with the parts whose shape is wrong."""
        return to_mapping(to_mapping(self.document.data).get(key))

    # Reading

    def _has_too_much(self) -> bool:
        count = sum(1 for _ in _expressions(self.document.data))
        if count > MAX_EXPRESSIONS:
            message = f"{count} values have expressions in them; {MAX_EXPRESSIONS} may."
            self.faults.append(self.document.fault(message))
        return count > MAX_EXPRESSIONS

    def _read_inputs(self) -> None:
        self.inputs = {name: {} for name in self._written("inputs")}
        for name, schema in to_mapping(self.sound.get("inputs")).items():
            faults = check_input(self.document.part("inputs", name))
            self.faults += faults
            if not faults and isinstance(schema, dict):
                self.inputs[name] = schema

    def _read_models(self) -> None:
        for name, model in to_mapping(self.sound.get("models")).items():
            own = to_mapping(model).get("name", name)
            if own != name:
                message = f"This model is named {name!r} already. Leave its `name` out."
                self.faults.append(self.document.fault(message, "models", name, "name"))

    def _read_nodes(self) -> None:
        nodes = frozenset(self._written("nodes"))
        for name, sound in to_mapping(self.sound.get("nodes")).items():
            draft = read_draft(
                name,
                self.document.part("nodes", name),
                to_mapping(sound),
                nodes=nodes,
                catalog=self.catalog,
                own_name=self.name,
            )
            self.drafts[name] = draft
            self.faults += draft.faults

    def _read_outputs(self) -> None:
        names = Names(frozenset(self._written("nodes")), frozenset({"inputs"}), SCOPE_HINTS)
        for name in to_mapping(self.sound.get("outputs")):
            parsed = parse_value(self.document.part("outputs", name), names)
            self.outputs[name] = parsed
            self.faults += parsed.faults

    def _read_stream(self) -> None:
        written = self.sound.get("stream")
        nodes = self._written("nodes")
        self.stream = tuple(dict.fromkeys(to_names(written)))
        for index, name in enumerate(to_names(written)):
            if name not in nodes:
                path = ("stream", index) if isinstance(written, list) else ("stream",)
                message = f"There is no node {name!r}.{nearest(name, nodes)}"
                self.faults.append(self.document.fault(message, *path))

    def _read_chat(self) -> None:
        if "chat" not in self.sound:
            return
        chat = read_chat(self.document, self.sound["chat"], self.inputs)
        self.chat = chat.values
        self.faults += chat.faults
        # A `stream` whose shape is wrong is a fault already: nothing more is said of it.
        is_written = "stream" in to_mapping(self.document.data)
        stream = self.sound.get("stream", () if is_written else None)
        sources = Sources(self.inputs, self.drafts)
        self.faults += check_answer(self.document, stream, self.outputs, sources)

    def _required(self) -> frozenset[str]:
        return frozenset(name for name, schema in self.inputs.items() if "default" not in schema)

    # What crosses from one part to another

    def _check_crossings(self) -> None:
        sources = Sources(self.inputs, self.drafts)
        reads = [read for draft in self.drafts.values() for read in draft.reads]
        reads += [read for parsed in self.outputs.values() for read in parsed.reads]
        broken = [fault for read in reads for fault in check_read(read, sources)]
        self.faults += broken
        for draft in self.drafts.values():
            self.faults += check_paths(draft, sources)
        needs = to_needs(self.drafts)
        cycles = list(find_cycles(self.drafts, needs))
        self.has_cycle = bool(cycles)
        self.faults += cycles
        has_all_reads = not broken and not any(p.faults for p in self._all_parsed())
        # A read that is broken might be the one that needs the node.
        if has_all_reads and len(self.drafts) == len(self._written("nodes")) and not self.has_cycle:
            read = {read.read.name for parsed in self.outputs.values() for read in parsed.reads}
            self.faults += find_unneeded(self.drafts, needs, read | set(self.stream))

    def _all_parsed(self) -> Iterator[Parsed]:
        yield from self.outputs.values()
        for draft in self.drafts.values():
            yield from (*draft.values.values(), *draft.inputs.values(), *draft.params.values())

    # Making

    def to_error(self) -> InvalidWorkflow:
        faults = sorted(
            dict.fromkeys(self.faults), key=lambda fault: (fault.line or 0, fault.column or 0)
        )
        what = f"Workflow {self.name!r}" if self.name else "The workflow"
        count = f"{len(faults)} faults" if len(faults) > 1 else "one fault"
        kind = CyclicGraph if self.has_cycle else InvalidWorkflow
        return kind(f"{what} has {count}. {faults[0]}", faults=faults)

    def to_graph(self, source: str) -> Graph:
        version = self.sound.get("version", 1)
        assert isinstance(version, int)
        return Graph(
            name=self.name,
            version=version,
            description=str(self.sound.get("description", "")),
            signature=self._to_signature(),
            nodes={
                name: draft.to_node(live=find_source(draft, self.drafts))
                for name, draft in self.drafts.items()
            },
            outputs=_bindings(self.outputs),
            stream=self.stream,
            chat=_bindings(self.chat),
            source=source,
        )

    def _to_signature(self) -> Signature:
        sources = Sources(self.inputs, self.drafts)
        may_be_skipped = self._may_be_skipped()
        outputs: dict[str, Schema] = {}
        for name, parsed in self.outputs.items():
            schema = describe(parsed, sources)
            if schema and parsed.binding.reads & may_be_skipped:
                schema = {"anyOf": [schema, {"type": "null"}]}
            outputs[name] = schema
        return Signature(
            inputs=self.inputs,
            outputs=outputs,
            required=self._required(),
            chunks={"type": "object"} if self.stream else None,
        )

    def _may_be_skipped(self) -> frozenset[str]:
        needs = to_needs(self.drafts)
        conditional = [name for name, draft in self.drafts.items() if "when" in draft.values]
        return frozenset(conditional).union(*(nx.descendants(needs, name) for name in conditional))


def _bindings(values: Mapping[str, Parsed]) -> dict[str, Binding]:
    return {name: parsed.binding for name, parsed in values.items()}


def _expressions(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if "{" in value:
            yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _expressions(inner)
