"""Reference: whether what expressions read is there, and of a type that fits. Knows no engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torchloom.document import Document
from torchloom.errors import Fault, nearest
from torchloom.signature import Schema
from torchloom_workflows.binding import PathExpression
from torchloom_workflows.draft import Draft
from torchloom_workflows.expression import Parsed, PlacedRead
from torchloom_workflows.fit import check_types
from torchloom_workflows.reading import Read
from torchloom_workflows.schema_path import NoSuchPath, schema_at, types_of


_TYPE_OF_FORM: Mapping[str, Schema] = {
    "text": {"type": "string"},
    "list": {"type": "array"},
    "mapping": {"type": "object"},
}


@dataclass(frozen=True, slots=True)
class Sources:
    """What expressions can read: the inputs of the workflow, and its nodes."""

    inputs: Mapping[str, Schema]
    drafts: Mapping[str, Draft]

    def find(self, read: Read) -> Schema:
        """Give the schema of what is read, {} where that is open. Raises NoSuchPath."""
        name, keys = read.name, read.keys
        if name == "inputs":
            return self._find_input(keys)
        draft = self.drafts.get(name)
        if draft is None or not keys:
            return {}
        outputs = draft.outputs
        key = str(keys[0])
        if key not in outputs:
            if not draft.target.may_give_more:
                what = f"Node {name!r} ({draft.target.label}) gives no {key!r}."
                raise NoSuchPath(what + nearest(key, outputs))
            return {}
        return schema_at(outputs[key], keys[1:], f"{name}.{key}")

    def _find_input(self, keys: tuple[str | int, ...]) -> Schema:
        if not keys:
            return {}
        key = str(keys[0])
        if key not in self.inputs:
            hint = nearest(key, self.inputs) or " The workflow declares none."
            raise NoSuchPath(f"There is no input {key!r}.{hint}")
        return schema_at(self.inputs[key], keys[1:], f"inputs.{key}")


def check_read(placed: PlacedRead, sources: Sources) -> Iterator[Fault]:
    """Find a read of what is not there."""
    try:
        sources.find(placed.read)
    except NoSuchPath as bad:
        yield placed.document.fault(str(bad))


def describe(parsed: Parsed, sources: Sources) -> Schema:
    """Give what is known of the value beforehand, as a schema."""
    if parsed.form in _TYPE_OF_FORM:
        return _TYPE_OF_FORM[parsed.form]
    if isinstance(parsed.binding, PathExpression):
        try:
            return sources.find(Read(parsed.binding.name, parsed.binding.keys))
        except NoSuchPath:
            return {}
    return {}


def check_paths(draft: Draft, sources: Sources) -> Iterator[Fault]:
    """Find inputs and params, each one look-up, that give a value of the wrong type."""
    signature = draft.target.signature
    if signature is None:
        return
    for key, values, schemas in (
        ("inputs", draft.inputs, signature.inputs),
        ("params", draft.params, signature.params),
    ):
        for name, parsed in values.items():
            if parsed.form == "path" and name in schemas:
                given = types_of(describe(parsed, sources))
                place = draft.document.part(key, name)
                yield from check_types(place, given, schemas[name], name)
    foreach = draft.values.get("foreach")
    if foreach is not None and foreach.form in ("path", "text", "constant"):
        yield from _check_foreach(draft.document.part("foreach"), foreach, sources)


def _check_foreach(document: Document, foreach: Parsed, sources: Sources) -> Iterator[Fault]:
    given = types_of(describe(foreach, sources))
    if isinstance(document.data, str) and foreach.form == "constant":
        given = frozenset({"string"})
    yield from check_types(document, given, {"type": "array"}, "foreach")
