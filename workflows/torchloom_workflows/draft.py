"""Draft: a node while it is being checked: its parts, read, and the faults found so far.

Knows its own part of the file; what other nodes give is looked up in `reference.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torchloom.document import Document
from torchloom.errors import Fault, nearest
from torchloom.graph import Binding, Call, Constant, Fallback, Node, WorkflowCall
from torchloom.signature import Schema
from torchloom_workflows.call import (
    Target,
    find_call_key,
    find_function,
    find_model,
    find_workflow,
    make_template,
)
from torchloom_workflows.catalog import Catalog
from torchloom_workflows.expression import Names, Parsed, PlacedRead, parse_value
from torchloom_workflows.fit import check_inputs, check_params
from torchloom_workflows.setting import (
    check_settings,
    to_cache,
    to_items,
    to_mapping,
    to_names,
    to_number,
    to_retry,
)
from torchloom_workflows.stand_in import StandIn


#: Names that mean something in expressions, and so cannot be names of nodes.
RESERVED = frozenset(
    [
        "and",
        "dict",
        "else",
        "false",
        "False",
        "for",
        "if",
        "in",
        "index",
        "inputs",
        "is",
        "item",
        "loop",
        "messages",
        "namespace",
        "none",
        "None",
        "not",
        "or",
        "outputs",
        "range",
        "recursive",
        "self",
        "true",
        "True",
    ]
)

_ITEM_HINT = " It is there only in a node with `foreach`: in inputs, params and template."

#: Where names are in scope that are not in scope everywhere.
SCOPE_HINTS: Mapping[str, str] = {
    "index": _ITEM_HINT,
    "item": _ITEM_HINT,
    "loop": " It is there only inside a `{% for %}`.",
    "messages": " It is there only in `chat`.",
    "outputs": " It is there only in `repeat.until`.",
}


@dataclass(slots=True)
class Draft:
    """A node in the making. `sound` is its data without the parts whose shape is wrong.

    `values` holds what may have expressions in it, by the key of the node; `until` and fallbacks
    read no node, and stand apart.
    """

    name: str
    document: Document
    sound: Mapping[str, object]
    names: Names
    target: Target = field(default_factory=Target)
    values: dict[str, Parsed] = field(default_factory=dict)
    inputs: dict[str, Parsed] = field(default_factory=dict)
    params: dict[str, Parsed] = field(default_factory=dict)
    until: Parsed | None = None
    after: frozenset[str] = frozenset()
    fallback: Fallback | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_foreach(self) -> bool:
        """Tell whether it is one task an item."""
        return "foreach" in to_mapping(self.document.data)

    @property
    def reads(self) -> list[PlacedRead]:
        """Every read of a node or input, with its place."""
        parsed = (*self.values.values(), *self.inputs.values(), *self.params.values())
        return [read for one in parsed for read in one.reads]

    @property
    def single_outputs(self) -> dict[str, Schema]:
        """The schema of each output that one task is known to give."""
        cut: dict[str, Schema] = {"items": {"type": "array"}} if "items" in self.sound else {}
        return {**self.target.outputs, **cut}

    @property
    def outputs(self) -> dict[str, Schema]:
        """The schema of each output that it is known to give: a list of them, with `foreach`."""
        if not self.is_foreach:
            return self.single_outputs
        return {
            name: {"type": "array", "items": schema} for name, schema in self.single_outputs.items()
        }

    def to_node(self, *, live: str | None = None) -> Node:
        """Make the node. There must be no faults. `live`: whose items it takes live."""
        priority, device = self.sound.get("priority"), self.sound.get("device")
        return Node(
            name=self.name,
            call=self._to_call(),
            inputs={name: parsed.binding for name, parsed in self.inputs.items()},
            params={name: parsed.binding for name, parsed in self.params.items()},
            foreach=self._to_binding("foreach"),
            live=live,
            limit=self._to_binding("limit"),
            when=self._to_binding("when"),
            items=to_items(self.sound),
            after=self.after,
            retry=to_retry(self.sound),
            timeout_s=to_number(self.sound.get("timeout_s")),
            fallback=self.fallback,
            cache=to_cache(self.sound),
            priority=priority if isinstance(priority, int) else None,
            device=device if isinstance(device, str) else None,
            outputs=tuple(self.outputs),
        )

    def _to_binding(self, key: str) -> Binding | None:
        return self.values[key].binding if key in self.values else None

    def _to_call(self) -> Call:
        call = self.target.call
        assert call is not None
        if isinstance(call, WorkflowCall) and self.until is not None:
            rounds = to_mapping(self.sound.get("repeat")).get("max")
            assert isinstance(rounds, int)
            return replace(call, repeat_until=self.until.binding, max_repeats=rounds)
        return call


def read_draft(
    name: str,
    document: Document,
    sound: Mapping[str, object],
    *,
    nodes: frozenset[str],
    catalog: Catalog,
    own_name: str,
) -> Draft:
    """Read and check a node by itself. `nodes` are the names of all nodes of the workflow."""
    names = Names(nodes, frozenset({"inputs"}), SCOPE_HINTS)
    draft = Draft(name, document, sound, names)
    if name in RESERVED:
        message = f"{name!r} means something in expressions, and cannot be a node's name."
        draft.faults.append(document.fault(message, at_key=True))
    _read_values(draft)
    _read_call(draft, catalog, own_name)
    _read_after(draft)
    spare = StandIn(document, sound, draft.target, draft.single_outputs)
    draft.fallback = spare.read(draft.inputs, catalog)
    draft.faults += spare.faults
    _read_until(draft)
    draft.faults += check_settings(document, sound, draft.target)
    _check_when(draft)
    target, signature = draft.target, draft.target.signature
    if signature is not None:
        draft.faults += check_inputs(document, draft.inputs, signature, target.label)
        draft.faults += check_params(document, draft.params, signature, target.label)
    return draft


def _parse(draft: Draft, names: Names, *path: str) -> Parsed:
    parsed = parse_value(draft.document.part(*path), names)
    draft.faults += parsed.faults
    return parsed


def _read_values(draft: Draft) -> None:
    names = inner = draft.names
    if draft.is_foreach:
        inner = replace(names, others=names.others | {"item", "index"})
    for key in ("foreach", "limit", "when"):
        if key in draft.sound:
            draft.values[key] = _parse(draft, names, key)
    for name in to_mapping(draft.sound.get("inputs")):
        draft.inputs[name] = _parse(draft, inner, "inputs", name)
    for name in to_mapping(draft.sound.get("params")):
        draft.params[name] = _parse(draft, inner, "params", name)
    if "template" in draft.sound:
        # A template's own inputs are names in it.
        own = replace(inner, others=inner.others | draft.inputs.keys())
        draft.values["template"] = _parse(draft, own, "template")


def _read_call(draft: Draft, catalog: Catalog, own_name: str) -> None:
    key, faults = find_call_key(draft.document)
    draft.faults += faults
    if key not in draft.sound:
        return
    document = draft.document.part(key)
    if key == "model":
        draft.target = find_model(document, catalog, draft.faults)
    elif key == "function":
        draft.target = find_function(document, catalog, draft.faults)
    elif key == "workflow":
        draft.target = find_workflow(document, catalog, own_name, draft.faults)
    else:
        draft.target = make_template(draft.values["template"])
        _check_template_inputs(draft)


def _check_template_inputs(draft: Draft) -> None:
    taken = draft.names.nodes | RESERVED
    for name in draft.inputs:
        if name in taken or not name.isidentifier():
            message = (
                f"A template's input cannot be named {name!r}: it could not be told apart there."
            )
            draft.faults.append(draft.document.fault(message, "inputs", name, at_key=True))


def _read_after(draft: Draft) -> None:
    written = draft.sound.get("after")
    nodes = draft.names.nodes
    for index, name in enumerate(to_names(written)):
        if name not in nodes:
            path = ("after", index) if isinstance(written, list) else ("after",)
            message = f"There is no node {name!r}.{nearest(name, nodes)}"
            draft.faults.append(draft.document.fault(message, *path))
    draft.after = nodes & set(to_names(written))


def _read_until(draft: Draft) -> None:
    if "until" not in to_mapping(draft.sound.get("repeat")):
        return
    names = Names(others=frozenset({"outputs"}), hints=SCOPE_HINTS)
    draft.until = _parse(draft, names, "repeat", "until")
    target = draft.target
    for placed in draft.until.reads:
        key = str(placed.read.keys[0]) if placed.read.keys else ""
        if key and not target.may_give_more and key not in target.outputs:
            message = f"{target.title} gives no {key!r}.{nearest(key, target.outputs)}"
            draft.faults.append(placed.document.fault(message))


def _check_when(draft: Draft) -> None:
    when = draft.values.get("when")
    if when is None or when.faults or not isinstance(when.binding, Constant):
        return
    if when.binding.value is not True:
        message = "This node never runs: `when` is no expression in `{{ … }}`, and not `true`."
        draft.faults.append(draft.document.fault(message, "when"))
