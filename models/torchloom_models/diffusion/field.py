"""What the kind `diffusion` takes and gives, in JSON Schema's words. Imports no framework."""

from __future__ import annotations

from collections.abc import Mapping

from torchloom.signature import Schema
from torchloom_models.diffusion.scheduler_table import SCHEDULERS
from torchloom_models.schema import COUNT, POSITIVE, STRING


_PICTURE: Schema = {**STRING, "contentEncoding": "base64"}

#: A picture as it leaves: the bytes of a PNG file.
_PNG: Schema = {**_PICTURE, "contentMediaType": "image/png"}

#: What can be given as an input or as a parameter alike; an input goes before a parameter.
KNOBS: Mapping[str, Schema] = {
    "negative_prompt": {**STRING, "description": "What the picture shall not show."},
    "seed": {
        **COUNT,
        "maximum": 2**63 - 1,
        "description": "The same seed gives the same picture; left out, one is drawn.",
    },
    "num_steps": {**POSITIVE, "description": "Denoising steps; the model's default if left out."},
    "guidance": {
        "type": "number",
        "minimum": 0,
        "maximum": 100,
        "description": "How closely to follow the prompt; 1 and less is no guidance.",
    },
    "width": {**POSITIVE, "description": "In pixels; the model's own if left out."},
    "height": {**POSITIVE, "description": "In pixels; the model's own if left out."},
    "strength": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "How far to go from `image`: 1 keeps nothing of it.",
    },
    "scheduler": {
        "type": "string",
        "enum": sorted(SCHEDULERS),
        "description": "How to go from noise to picture; the model's own if left out.",
    },
    "preview_every": {
        **COUNT,
        "default": 0,
        "description": "Send a small preview every so many steps; 0 sends none.",
    },
}

INPUTS: Mapping[str, Schema] = {
    "prompt": {"type": "string", "minLength": 1, "description": "What the picture shall show."},
    "image": {**_PICTURE, "description": "A picture to start from: PNG, JPEG or WebP."},
    "mask": {**_PICTURE, "description": "White where `image` is to be drawn anew."},
    **KNOBS,
}

OUTPUTS: Mapping[str, Schema] = {"image": _PNG, "seed": COUNT}

CHUNKS: Schema = {"type": "object", "properties": {"image": _PNG}}

#: Keys of a model file.
FIELDS: Mapping[str, Schema] = {
    "max_pictures": {**POSITIVE, "maximum": 256, "description": "How many it draws at once."},
    "max_pixels": {**POSITIVE, "description": "The most pixels of a picture, width times height."},
    "max_steps": {**POSITIVE, "maximum": 10_000, "description": "The most steps of a picture."},
}
