"""Expression: turns a value of a workflow file into a Binding, or into what is wrong with it.

A value that is exactly one `{{ … }}` gives the native object; text around it renders to a string;
lists and mappings are worked out part by part. Knows no node, only which names there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from jinja2 import Template, TemplateError, nodes

from torchloom.document import Document
from torchloom.errors import Fault, nearest
from torchloom.graph import Binding, Constant
from torchloom_workflows.binding import (
    ListBinding,
    MappingBinding,
    NativeExpression,
    PathExpression,
    TextExpression,
    Use,
    end_sentence,
)
from torchloom_workflows.method import FUNCTIONS
from torchloom_workflows.reading import Read, constant_key, find_reads
from torchloom_workflows.rewrite import BadExpression, check_tree, has_builders, put_on_meter
from torchloom_workflows.sandbox import SANDBOX


#: Characters of the longest expression.
MAX_SOURCE_CHARS = 65_536

_MAX_SHOWN = 80

#: What is known of a value before it is worked out. A `path` is a name and constant keys, no more.
Form = Literal["constant", "path", "native", "text", "list", "mapping"]


@dataclass(frozen=True, slots=True)
class Names:
    """The names that an expression may read: nodes, and whatever else is in scope there.

    `hints` says, for names that are in scope elsewhere, where that is.
    """

    nodes: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    hints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedRead:
    """A read, and the part of the document that the expression is in."""

    read: Read
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A value of the file, read. `binding` is a stand-in where there are faults."""

    binding: Binding
    form: Form
    reads: tuple[PlacedRead, ...] = ()
    faults: tuple[Fault, ...] = ()


def parse_value(document: Document, names: Names) -> Parsed:
    """Read a value of the file with all that is in it, and find every fault."""
    data = document.data
    if isinstance(data, str):
        return _parse_text(document, data, names)
    if isinstance(data, list):
        items = [parse_value(document.part(index), names) for index in range(len(data))]
        return _gather(items, data, "list")
    if isinstance(data, dict):
        values = {key: parse_value(document.part(key), names) for key in data}
        return _gather(list(values.values()), data, "mapping")
    return Parsed(binding=Constant(data), form="constant")


def _gather(parts: list[Parsed], data: list[object] | dict[str, object], form: Form) -> Parsed:
    reads = tuple(read for part in parts for read in part.reads)
    faults = tuple(fault for part in parts for fault in part.faults)
    bindings = [part.binding for part in parts]
    binding: Binding
    if all(part.form == "constant" for part in parts):
        values = [binding.value for binding in bindings if isinstance(binding, Constant)]
        whole: object = dict(zip(data, values, strict=True)) if form == "mapping" else values
        return Parsed(binding=Constant(whole), form="constant", reads=reads, faults=faults)
    names = frozenset[str]().union(*(binding.reads for binding in bindings))
    if isinstance(data, dict):
        binding = MappingBinding(dict(zip(data, bindings, strict=True)), names)
    else:
        binding = ListBinding(tuple(bindings), names)
    return Parsed(binding=binding, form=form, reads=reads, faults=faults)


def _parse_text(document: Document, source: str, names: Names) -> Parsed:
    if "{" not in source:
        return Parsed(binding=Constant(source), form="constant")
    problems: list[BadExpression] = []
    try:
        tree = _parse_tree(source)
        reads = find_reads(tree)
        problems += _check_names(reads, names)
        used = _to_use(document, source, reads, names)
        binding, form = _compile(tree, used)
    except BadExpression as bad:
        problems.append(bad)
    if problems:
        faults = tuple(_fault_of(document, source, bad) for bad in problems)
        return Parsed(binding=Constant(None), form="native", faults=faults)
    placed = tuple(PlacedRead(read, document) for read in reads if read.name not in FUNCTIONS)
    return Parsed(binding=binding, form=form, reads=placed)


def _fault_of(document: Document, source: str, bad: BadExpression) -> Fault:
    where = f" (line {bad.line} of it)" if bad.line > 1 else ""
    return document.fault(f"The expression {_shorten(source)}{where}: {bad}")


def _parse_tree(source: str) -> nodes.Template:
    if len(source) > MAX_SOURCE_CHARS:
        raise BadExpression(f"It has more than {MAX_SOURCE_CHARS} characters.")
    try:
        tree = SANDBOX.parse(source)
    except TemplateError as bad:
        raise BadExpression(end_sentence(bad.message or "It is malformed"), _line_of(bad)) from bad
    except (RecursionError, MemoryError, ValueError, OverflowError) as bad:
        raise BadExpression("It is too deep, or holds a number that is too long.") from bad
    check_tree(tree)
    return tree


def _line_of(bad: TemplateError) -> int:
    line = getattr(bad, "lineno", 1)
    return line if isinstance(line, int) else 1


def _check_names(reads: list[Read], names: Names) -> Iterator[BadExpression]:
    """Complain of each name that means nothing here, once."""
    known = names.nodes | names.others
    unknown: dict[str, int] = {}
    for read in reads:
        if read.name not in known and read.name not in FUNCTIONS and not read.is_maybe:
            unknown.setdefault(read.name, read.line)
    for name, line in unknown.items():
        hint = names.hints.get(name) or nearest(name, known)
        yield BadExpression(f"There is nothing named {name!r} here.{hint}", line)


def _to_use(document: Document, source: str, reads: list[Read], names: Names) -> Use:
    fault = document.fault("")
    place = f"{fault.file}:{fault.line}" if fault.file else f"line {fault.line}"
    label = f"{_shorten(source)} ({place})" if fault.line else _shorten(source)
    found = {read.name for read in reads if read.name not in FUNCTIONS}
    return Use(label, tuple(sorted(found)), frozenset(found & names.nodes))


def _compile(tree: nodes.Template, used: Use) -> tuple[Binding, Form]:
    outputs = tree.body
    parts = outputs[0].nodes if len(outputs) == 1 and isinstance(outputs[0], nodes.Output) else []
    if not outputs or (parts and all(isinstance(part, nodes.TemplateData) for part in parts)):
        texts = [part.data for part in parts if isinstance(part, nodes.TemplateData)]
        return Constant("".join(texts)), "constant"
    if len(parts) != 1:
        return TextExpression(used, _build_template(tree)), "text"
    path = _as_path(parts[0])
    if path is not None:
        return PathExpression(used, *path), "path"
    target = nodes.Name("result", "store", lineno=1)
    whole = nodes.Template([nodes.Assign(target, parts[0], lineno=1)], lineno=1)
    whole.set_environment(SANDBOX)
    makes_new = has_builders(parts[0])
    return NativeExpression(used, _build_template(whole), makes_new), "native"


def _as_path(node: nodes.Node) -> tuple[str, tuple[str | int, ...]] | None:
    keys: list[str | int] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        key = constant_key(node)
        if key is None:
            return None
        keys.append(key)
        node = node.node
    if not isinstance(node, nodes.Name) or node.name in FUNCTIONS:
        return None
    return node.name, tuple(reversed(keys))


def _build_template(tree: nodes.Template) -> Template:
    try:
        metered = put_on_meter(tree)
        metered.set_environment(SANDBOX)
        code = SANDBOX.compile(metered)
        return Template.from_code(SANDBOX, code, SANDBOX.globals)
    except TemplateError as bad:
        raise BadExpression(end_sentence(bad.message or "It is malformed"), _line_of(bad)) from bad
    except (SyntaxError, RecursionError, MemoryError, ValueError, OverflowError) as bad:
        raise BadExpression("It is too deep, or too long.") from bad


def _shorten(source: str) -> str:
    text = " ".join(source.split())
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")
