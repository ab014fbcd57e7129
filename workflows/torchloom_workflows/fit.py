"""Fit: whether what a node gives is what its call takes. Knows no reference and no edge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torchloom.departure import SchemaCheck
from torchloom.document import Document
from torchloom.errors import Fault, nearest
from torchloom.graph import Constant
from torchloom.signature import Schema, Signature
from torchloom_workflows.expression import Parsed
from torchloom_workflows.schema_path import can_fit, types_of


_TYPE_OF_FORM = {"text": "string", "list": "array", "mapping": "object"}


def check_inputs(
    document: Document, given: Mapping[str, Parsed], signature: Signature, label: str
) -> Iterator[Fault]:
    """Find inputs of a node that its call does not take, or does not take together, or lacks."""
    place = document.part("inputs") if "inputs" in _keys(document) else document
    if not signature.is_open:
        yield from _check_names(place, given, signature.inputs, f"{_title(label)} takes no input")
    for name in sorted(signature.required - given.keys()):
        yield place.fault(f"The input {name!r} is missing: {label} needs it.")
    for group in signature.one_of:
        written = sorted(group & given.keys())
        names = " or ".join(repr(name) for name in sorted(group))
        if not written:
            yield place.fault(f"An input is missing: {label} needs {names}.")
        elif len(written) > 1:
            message = f"{_title(label)} takes {names}, not both."
            yield place.fault(message, written[1], at_key=True)
    yield from _check_values(place, given, signature.inputs)


def check_params(
    document: Document, given: Mapping[str, Parsed], signature: Signature, label: str
) -> Iterator[Fault]:
    """Find params that the call does not take, or whose values do not fit."""
    if not given:
        return
    place = document.part("params")
    if not signature.is_open:
        yield from _check_names(place, given, signature.params, f"{_title(label)} takes no param")
    yield from _check_values(place, given, signature.params)


def _title(label: str) -> str:
    return label[:1].upper() + label[1:]


def _keys(document: Document) -> set[str]:
    return set(document.data) if isinstance(document.data, dict) else set()


def _check_names(
    place: Document, given: Mapping[str, Parsed], known: Mapping[str, Schema], complaint: str
) -> Iterator[Fault]:
    for name in given:
        if name not in known:
            yield place.fault(f"{complaint} {name!r}.{nearest(name, known)}", name, at_key=True)


def _check_values(
    place: Document, given: Mapping[str, Parsed], schemas: Mapping[str, Schema]
) -> Iterator[Fault]:
    for name, parsed in given.items():
        if name in schemas and not parsed.faults:
            yield from check_value(place.part(name), parsed, schemas[name], name)


def check_value(document: Document, parsed: Parsed, schema: Schema, name: str) -> Iterator[Fault]:
    """Find what is wrong with a value of the file, as far as it is known before a run."""
    if isinstance(parsed.binding, Constant):
        for found in SchemaCheck(schema).find(parsed.binding.value):
            message = found.message if found.path else found.message.replace("This", repr(name), 1)
            yield document.fault(message, *found.path, at_key=found.at_key)
    elif parsed.form in _TYPE_OF_FORM:
        given = frozenset({_TYPE_OF_FORM[parsed.form]})
        yield from check_types(document, given, schema, name)


def check_types(
    document: Document, given: frozenset[str] | None, schema: Schema, name: str
) -> Iterator[Fault]:
    """Find a value whose type cannot be right."""
    wanted = types_of(schema)
    if given is None or wanted is None or can_fit(given, wanted):
        return
    gives, needs = " or ".join(sorted(given)), " or ".join(sorted(wanted))
    hint = " `{{ … | string }}` makes text of it." if wanted == {"string"} else ""
    yield document.fault(f"{name!r} must be of type {needs}, and this gives {gives}.{hint}")
