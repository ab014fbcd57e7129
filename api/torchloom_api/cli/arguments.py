"""`--input name=value` to a workflow's inputs, by the types that it declares. Knows no server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import rich_click as click


def read_inputs(
    pairs: Iterable[str], whole: str | None, schemas: Mapping[str, Mapping[str, object]]
) -> dict[str, object]:
    """Lay `name=value` pairs over a JSON object.

    A value is text where the input is declared as a string (or not at all and is no JSON), and JSON
    elsewhere. `name=@file` reads the value from a file. Raises UsageError, naming the option.
    """
    inputs = read_object("--inputs", whole) if whole is not None else {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            message = f"--input {pair!r}: write name=value."
            raise click.UsageError(message)
        inputs[name] = _read_value(name, _read_text(name, text), schemas.get(name))
    return inputs


def read_object(option: str, text: str) -> dict[str, object]:
    """Read an option that is a JSON object, or @file. Raises UsageError, naming the option."""
    try:
        value = json.loads(_read_text(option, text))
    except json.JSONDecodeError as error:
        message = f"{option} is no JSON: {error}."
        raise click.UsageError(message) from error
    if not isinstance(value, dict):
        message = f'{option} must be a JSON object, such as \'{{"name": "value"}}\'.'
        raise click.UsageError(message)
    return value


def _read_text(name: str, text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{name}: cannot read {text[1:]!r}: {error}."
        raise click.UsageError(message) from error


def _read_value(name: str, text: str, schema: Mapping[str, object] | None) -> object:
    declared = schema.get("type") if schema else None
    if declared == "string":
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if declared is None:
            return text
        message = f"--input {name}={text!r}: {name!r} is of type {declared}; write it as JSON."
        raise click.UsageError(message) from error
