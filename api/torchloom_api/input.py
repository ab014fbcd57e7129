"""InputCheck: a client's values against a Signature, before anything is queued. Knows no route.

Text of forms becomes what the schema says, base64 and data URLs become bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NoReturn

import jsonschema_rs
import msgspec

from torchloom.departure import PATTERN_OPTIONS
from torchloom.document import pointer_to
from torchloom.errors import Fault, InvalidInput, nearest
from torchloom.signature import Schema, Signature


#: How many faults one answer tells.
_MAX_FAULTS: Final = 50

#: How many compiled checks are kept.
_MAX_CHECKS: Final = 1024


class InputCheck:
    """The compiled checks of one signature. Raises ValueError for a schema that cannot be used."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._media = {n for n, schema in signature.inputs.items() if _is_media(schema)}
        self._inputs = _compile(signature.inputs, signature.required, signature.is_open)
        self._params = _compile(signature.params, frozenset(), signature.is_open)

    def check(self, values: object, *, is_form: bool = False) -> dict[str, object]:
        """Give the inputs as engines take them; InvalidInput with every fault and its pointer."""
        if not isinstance(values, dict):
            raise InvalidInput('The inputs must be an object, such as {"name": value}.')
        faults: list[Fault] = []
        if is_form and self._signature.is_raw:
            return {name: _to_raw(value) for name, value in values.items()}
        if is_form:
            values = {name: self._from_form(name, value) for name, value in values.items()}
        media = {name: _to_bytes(name, values[name], faults) for name in self._media & set(values)}
        plain = {**values, **dict.fromkeys(media, "")} if media else values
        faults += self._faults(self._inputs, plain, self._signature.inputs, "input")
        faults += self._choice_faults(values)
        _raise_for(faults, "inputs")
        return {**values, **media} if media else values

    def check_params(self, values: object) -> dict[str, object]:
        """Give the params; InvalidInput with every fault and its pointer."""
        if not isinstance(values, dict):
            raise InvalidInput('The params must be an object, such as {"name": value}.')
        faults = list(self._faults(self._params, values, self._signature.params, "parameter"))
        _raise_for(faults, "params")
        return values

    def _faults(
        self,
        validator: jsonschema_rs.Draft202012Validator,
        values: dict[str, object],
        schemas: Mapping[str, Schema],
        noun: str,
    ) -> Iterator[Fault]:
        try:
            if validator.is_valid(values):
                return
            errors = list(islice(validator.iter_errors(values), _MAX_FAULTS))
        except (ValueError, RecursionError) as error:
            # What JSON Schema has no word for: bytes of a form's file where none belongs.
            yield Fault(message=f"A value cannot be checked: {error}.")
            return
        for departure in errors:
            yield from _to_faults(departure, schemas, noun)

    def _choice_faults(self, values: Mapping[str, object]) -> Iterator[Fault]:
        for group in self._signature.one_of:
            given = sorted(group & set(values))
            if len(given) != 1:
                names = ", ".join(repr(name) for name in sorted(group))
                yield Fault(message=f"Give exactly one of {names}; {len(given)} are given.")

    def _from_form(self, name: str, value: object) -> object:
        """Read a form's text or file as the schema says; what does not fit is left to the check."""
        schema = self._signature.inputs.get(name, {})
        if name in self._media or schema.get("type") == "string":
            is_text = isinstance(value, bytes) and name not in self._media
            return value.decode(errors="replace") if is_text else value  # type: ignore[attr-defined]  # is_text
        if not isinstance(value, str | bytes):
            return value
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return value if isinstance(value, str) else value.decode(errors="replace")


class InputChecks:
    """Compiled checks by label; a label whose signature is another object is compiled again."""

    def __init__(self) -> None:
        self._checks: dict[str, tuple[Signature, InputCheck]] = {}

    def of(self, label: str, signature: Signature) -> InputCheck:
        """Give the check of a signature."""
        known = self._checks.get(label)
        if known is not None and known[0] is signature:
            return known[1]
        if len(self._checks) >= _MAX_CHECKS:
            self._checks.clear()
        check = InputCheck(signature)
        self._checks[label] = (signature, check)
        return check


def to_object_schema(
    schemas: Mapping[str, Schema], required: frozenset[str], *, is_open: bool
) -> dict[str, object]:
    """Join named schemas to the schema of one object."""
    return {
        "type": "object",
        "properties": dict(schemas),
        "required": sorted(required),
        "additionalProperties": is_open,
    }


def _compile(
    schemas: Mapping[str, Schema],
    required: frozenset[str],
    is_open: bool,  # noqa: FBT001 - as the signature has it
) -> jsonschema_rs.Draft202012Validator:
    schema = to_object_schema(schemas, required, is_open=is_open)
    return jsonschema_rs.Draft202012Validator(
        schema, mask="the value", retriever=_refuse, pattern_options=PATTERN_OPTIONS
    )


def _refuse(uri: str) -> NoReturn:
    message = f"A schema may not refer to {uri!r}: nothing outside the file is read."
    raise ValueError(message)


def _to_faults(
    error: jsonschema_rs.ValidationError, schemas: Mapping[str, Schema], noun: str
) -> Iterator[Fault]:
    path = error.instance_path
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties) and not path:
        for name in kind.unexpected:
            message = f"There is no {noun} {name!r}.{nearest(name, schemas)}"
            yield Fault(message=message, pointer=pointer_to(name))
    elif isinstance(kind, jsonschema_rs.ValidationErrorKind.Required) and not path:
        message = f"The {noun} {kind.property!r} is missing."
        yield Fault(message=message, pointer=pointer_to(kind.property))
    else:
        subject = f"{noun} {str(path[0])!r}: " if path else ""
        yield Fault(message=f"{subject}{error.message}", pointer=pointer_to(*path))


def _to_raw(value: object) -> object:
    """Give what a form holds as its bytes; a name that comes more than once gives a list."""
    if isinstance(value, list):
        return [_to_raw(each) for each in value]
    return value.encode() if isinstance(value, str) else value


def _raise_for(faults: list[Fault], noun: str) -> None:
    if faults:
        count = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InvalidInput(f"The {noun} are not valid: {faults[0].message}{count}", faults=faults)


def _is_media(schema: Schema) -> bool:
    return schema.get("contentEncoding") == "base64"


def _to_bytes(name: str, value: object, faults: list[Fault]) -> bytes:
    """Decode base64 or a data URL; a form's file is bytes already."""
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else None
    if text is not None and text.startswith(("http://", "https://")):
        message = f"input {name!r}: remote URLs are not fetched. Send the content itself."
    elif text is not None:
        payload = text.partition(",")[2] if text.startswith("data:") else text
        try:
            return base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            message = f"input {name!r}: this is no base64, and no data URL."
    else:
        message = f"input {name!r}: send base64 text, a data URL, or a file in a form."
    faults.append(Fault(message=message, pointer=pointer_to(name)))
    return b""
