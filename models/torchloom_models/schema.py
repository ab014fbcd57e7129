"""JSON Schema fragments that several kinds share. Knows no kind and validates nothing."""

from __future__ import annotations

from torchloom.signature import Schema


STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
OBJECT: Schema = {"type": "object"}
STRINGS: Schema = {"type": "array", "items": STRING}
VECTOR: Schema = {"type": "array", "items": NUMBER, "minItems": 1}
