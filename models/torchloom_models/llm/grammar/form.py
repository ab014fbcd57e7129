"""The form that the sampling parameter `structured_outputs` has, for the kind's published table."""

from __future__ import annotations

from typing import Final

from torchloom.signature import Schema
from torchloom_models.schema import OBJECT


#: The names are those of vLLM's parameter.
STRUCTURED_OUTPUTS: Final[Schema] = {
    "type": "object",
    "properties": {
        "json": {**OBJECT, "description": "A JSON Schema that the answer fits."},
        "json_object": {"const": True, "description": "The answer is a JSON object."},
        "regex": {
            "type": "string",
            "minLength": 1,
            "description": "A regular expression that the whole answer matches.",
        },
        "choice": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
            "maxItems": 10_000,
            "description": "The answer is one of these.",
        },
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "description": "What form the answer has: one of json, json_object, regex and choice.",
}
