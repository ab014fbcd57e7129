"""What the kind `handler` takes and gives, in JSON Schema's words. Imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from torchloom.signature import Schema
from torchloom_models.group.plan import FIELD as PARALLEL
from torchloom_models.schema import BOOLEAN, OBJECT, STRING


#: What turns the bodies of one protocol into what handlers take, and back.
Envelope = Literal["body", "json", "kserve", "kservev2"]

_BYTES: Schema = {**STRING, "contentEncoding": "base64"}

_TEXTS: Schema = {"type": "object", "additionalProperties": STRING}

_HEADER: Schema = {
    **STRING,
    "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$",
    "$comment": "The name of a header: letters, digits, '_' and '-', 128 at most.",
}

#: In TorchServe, an entry of `model_metrics` in `metrics_config`.
_METRIC: Schema = {
    "type": "object",
    "properties": {
        "name": {**STRING, "minLength": 1},
        "kind": {"type": "string", "enum": ["counter", "gauge", "histogram"]},
        "unit": STRING,
        "dimensions": {"type": "array", "items": {**STRING, "minLength": 1}},
    },
    "required": ["name", "kind", "unit", "dimensions"],
    "additionalProperties": False,
}

_STATUS: Schema = {"type": "integer", "minimum": 100, "maximum": 599}

PARAMS: Mapping[str, Schema] = {
    "fields": {
        "type": ["object", "null"],
        "description": "In place of the inputs: all that the row is to hold, by name.",
    },
    "headers": {**_TEXTS, "description": "Headers of the request, in the client's spelling."},
    "content_types": {**_TEXTS, "description": "The media type of each input, by its name."},
    "request_id": {**STRING, "description": "What the handler is told; left out, one is made up."},
    "is_explain": {
        "type": ["boolean", "null"],
        "default": False,
        "description": "Ask for an explanation. Of null, the handler sees no header.",
    },
    "is_describe": {
        **BOOLEAN,
        "default": False,
        "description": "Ask what the model says of itself.",
    },
    "url_path": {
        "type": ["string", "null"],
        "default": "",
        "description": "What follows the version in the address. Null: as for `is_explain`.",
    },
    "sequence_id": {**STRING, "default": "", "description": "The sequence that it belongs to."},
}

OUTPUTS: Mapping[str, Schema] = {
    "body": {**_BYTES, "description": "What TorchServe would send."},
    "content_type": {"type": ["string", "null"], "description": "As the handler has set it."},
    "status": _STATUS,
    "reason": {**STRING, "description": "The phrase that goes with the status."},
    "headers": _TEXTS,
    "value": {"description": "The handler's own item: JSON or text; null for bytes."},
}

CHUNKS: Schema = {"type": "object", "properties": {"data": OBJECT}}

FIELDS: Mapping[str, Schema] = {
    "handler": {
        **STRING,
        "minLength": 1,
        "description": "In place of the archive's own: FILE.py, FILE:FUNCTION or a built-in name.",
    },
    "envelope": {"type": "string", "enum": list(get_args(Envelope))},
    "model_name": {**STRING, "description": "What handlers are told in place of `name`."},
    "model_version": {**STRING, "description": "What handlers are told in place of the archive's."},
    "limit_image_pixels": {
        **BOOLEAN,
        "default": True,
        "description": "Refuse pictures of so many pixels that they look like an attack.",
    },
    "sequence_headers": {
        "type": "object",
        "properties": {
            "id": {**_HEADER, "default": "ts_request_sequence_id"},
            "start": {**_HEADER, "default": "ts_request_sequence_start"},
            "end": {**_HEADER, "default": "ts_request_sequence_end"},
        },
        "additionalProperties": False,
        "description": "Other names of the headers that tell of sequences.",
    },
    "parallel": PARALLEL,
    "metrics": {
        "type": "array",
        "items": _METRIC,
        "description": "Metrics that its handler finds declared, as `context.metrics` has them.",
    },
    "prediction_time": {
        **BOOLEAN,
        "default": False,
        "description": "Measure each call, as the metric PredictionTime: milliseconds.",
    },
}

#: How many rows a handler is given at once, unless the archive or the model file says.
BATCH_SIZE: Final = 1
