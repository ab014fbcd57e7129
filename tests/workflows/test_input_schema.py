"""Input schema: what a file declares under `inputs`."""

from __future__ import annotations

import pytest

from torchloom_workflows.input_schema import check_input
from torchloom_workflows.loader import load_document


def _faults(text: str) -> list[str]:
    faults = check_input(load_document(text))
    return [f"{fault.line}:{fault.column}: {fault.message}" for fault in faults]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{type: string, minLength: 1, default: x}",
        "{type: [integer, 'null'], default: null}",
        "{type: object, properties: {type: {type: string}}, required: [type]}",
        "{anyOf: [{type: string}, {type: array, items: {type: string}}]}",
        "{type: string, x-widget: textarea, contentEncoding: base64}",
        "{properties: {a: true}, additionalProperties: false}",
    ],
)
def test_takes_json_schema(text: str) -> None:
    """Words of JSON Schema, and own ones that begin with `x-`, are fine."""
    assert _faults(text) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{type: strin}", "1:8: 'strin' is not one of"),
        ("{minLenght: 3}", "1:2: JSON Schema has no word 'minLenght'. Did you mean 'minLength'?"),
        ("{items: {minn: 3}}", "1:10: JSON Schema has no word 'minn'."),
        ("{anyOf: [{typ: string}]}", "1:11: JSON Schema has no word 'typ'. Did you mean 'type'?"),
        ("{properties: {a: {tpe: x}}}", "1:19: JSON Schema has no word 'tpe'."),
        ("{minimum: x}", "1:11: 'minimum' must be a number, not a string."),
        ("{pattern: '('}", "1:11: '(' is not a valid regex."),
        ("{pattern: '(?=a)b'}", "1:11: This pattern cannot be used"),
        ("{pattern: 'a{9999999}'}", "1:11: This pattern cannot be used"),
        ("{$ref: 'http://127.0.0.1/x'}", "1:2: '$ref' is not used in inputs."),
        ("{items: {$ref: '#'}}", "1:10: '$ref' is not used in inputs."),
        ("{type: integer, default: x}", "1:26: The default does not fit: This must be a whole"),
        ("{items: {type: string}, default: [a, 1]}", "1:38: The default does not fit: Item 1 must"),
    ],
)
def test_finds_what_is_wrong(text: str, fault: str) -> None:
    """Slips, bad values, patterns without a bound, references and unfit defaults are found."""
    faults = _faults(text)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_finds_everything_at_once() -> None:
    """Several faults of one schema are all told."""
    assert len(_faults("{type: strin, minimum: x, foo: 1}")) == 3
