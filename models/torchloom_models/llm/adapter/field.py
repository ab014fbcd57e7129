"""What a model file and a request may say of adapters, in JSON Schema's words. Reads none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torchloom.signature import Schema
from torchloom_models.schema import POSITIVE


#: The pattern of an adapter's name: no ':' and no '@', which part it from its model.
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"

#: What goes before an adapter's name in the key of the setting that loads it.
SETTING: Final = "adapter:"

#: Keys of a model file. With any of them a model takes adapters.
FIELDS: Mapping[str, Schema] = {
    "adapters": {
        "type": "object",
        "propertyNames": {
            "pattern": NAME_PATTERN,
            "$comment": (
                "An adapter's name is made of letters, digits, '_', '.' and '-', starts with a "
                "letter or digit, and has 128 characters at most."
            ),
        },
        "additionalProperties": {"type": "string", "minLength": 1},
        "description": "LoRA adapters that are loaded with the model: a source by name.",
    },
    "max_adapters": {
        **POSITIVE,
        "maximum": 64,
        "description": "How many adapters are held at once; left out, 4, or as many as are named.",
    },
    "max_lora_rank": {
        **POSITIVE,
        "maximum": 512,
        "default": 16,
        "description": "The highest rank of an adapter: memory and time are taken for it.",
    },
    "lora_modules": {
        "oneOf": [
            {"type": "string", "enum": ["all-linear"]},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        ],
        "description": (
            "The linear layers that adapters may change, by the ends of their names; left out, "
            "those of the adapters that are named here, or all where none is."
        ),
    },
}

#: Parameters of a request.
PARAMS: Mapping[str, Schema] = {
    "adapter": {
        "type": "string",
        "minLength": 1,
        "description": "The adapter that writes the answer; left out, the model as it is.",
    },
}


def takes_adapters(config: Mapping[str, object]) -> bool:
    """Say whether a model file makes a model that takes adapters."""
    return any(key in config for key in FIELDS)
