"""Inputs: a run's inputs against what its graph declares, before any work. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torchloom.departure import Departure, SchemaCheck
from torchloom.document import pointer_to
from torchloom.errors import Fault, InvalidInput
from torchloom.signature import Signature
from torchloom_workflows.schema_path import can_fit, types_of


_JSON = (str, int, float, list, tuple, dict, type(None))


class InputValidator:
    """The inputs of one signature, compiled: make it once a graph.

    A value that JSON cannot carry is judged by its type alone: bytes pass for a string, arrays for
    a list. Raises jsonschema_rs.ValidationError for a schema that is none.
    """

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._defaults = {
            name: schema["default"]
            for name, schema in signature.inputs.items()
            if "default" in schema
        }
        self._check = SchemaCheck(
            {
                "type": "object",
                "properties": {name: dict(schema) for name, schema in signature.inputs.items()},
                "additionalProperties": signature.is_open,
            },
            key="input",
        )

    def validate(self, inputs: Mapping[str, object]) -> dict[str, object]:
        """Give the inputs, defaults filled in. Raises InvalidInput with every fault, by pointer."""
        given = {**self._defaults, **inputs}
        foreign = {name for name, value in inputs.items() if not isinstance(value, _JSON)}
        plain = {name: value for name, value in given.items() if name not in foreign}
        faults = [
            *(_to_fault(departure) for departure in self._find(plain)),
            *self._missing(given),
            *self._foreign(inputs, foreign),
        ]
        if faults:
            count = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise InvalidInput(
                f"The inputs are not valid: {faults[0].message}{count}", faults=faults
            )
        return given

    def _find(self, plain: dict[str, object]) -> list[Departure]:
        try:
            return [] if self._check.is_valid(plain) else self._check.find(plain)
        except (ValueError, RecursionError) as bad:
            return [Departure((), f"An input holds what JSON cannot carry: {bad}.")]

    def _missing(self, given: Mapping[str, object]) -> Iterator[Fault]:
        for name in sorted(self._signature.required - given.keys()):
            message = f"The input {name!r} is missing."
            yield Fault(message=message, pointer=pointer_to(name))
        for group in self._signature.one_of:
            if len(group & given.keys()) != 1:
                names = " or ".join(repr(name) for name in sorted(group))
                yield Fault(message=f"Give exactly one of the inputs {names}.")

    def _foreign(self, inputs: Mapping[str, object], names: set[str]) -> Iterator[Fault]:
        for name in sorted(names):
            value = inputs[name]
            stands_for = "string" if isinstance(value, bytes | bytearray) else "array"
            schema = self._signature.inputs.get(name)
            if schema is None and not self._signature.is_open:
                yield from (_to_fault(found) for found in self._find({name: None}))
            elif schema is not None and not can_fit(frozenset({stands_for}), types_of(schema)):
                message = f"{name!r} cannot be a {type(value).__name__}."
                yield Fault(message=message, pointer=pointer_to(name))


def _to_fault(departure: Departure) -> Fault:
    return Fault(message=departure.message, pointer=pointer_to(*departure.path) or None)
