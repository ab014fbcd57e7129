"""The keys of a model file that only an index has. Imports nothing but the word for a schema."""

from __future__ import annotations

from collections.abc import Mapping

from torchloom.signature import Schema


_SIZE: Schema = {"type": "integer", "minimum": 1, "maximum": 100_000}

#: The keys of a model file that only an index has.
FIELDS: Mapping[str, Schema] = {
    "embedder": {
        "type": "string",
        "description": "The model that its vectors come from; recorded when it is built.",
    },
    "metric": {"type": "string", "enum": ["cosine", "dot", "l2"]},
    "documents": {
        "oneOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        ],
        "description": "Folders, files or patterns that `torchloom index build` reads.",
    },
    "chunk": {
        "type": "object",
        "properties": {
            "max_size": _SIZE,
            "min_size": _SIZE,
            "overlap": {**_SIZE, "minimum": 0},
            "unit": {"type": "string", "enum": ["characters", "tokens"]},
        },
        "additionalProperties": False,
        "description": "How long its passages are.",
    },
    "table": {"type": "string", "description": "The table, where a database server holds it."},
    "password_env": {
        "type": "string",
        "minLength": 1,
        "description": "The environment variable that holds the database's password.",
    },
}
