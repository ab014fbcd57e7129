"""What the kind `llm` publishes of log probabilities: parameters, outputs. Imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torchloom.signature import Schema
from torchloom_models.schema import COUNT, NUMBER, STRING


#: The most tokens that are told instead of one, as OpenAI has it.
MAX_TOP: Final = 20

_NUM_TOP: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": MAX_TOP}

LOGPROB_PARAMS: Final[Mapping[str, Schema]] = {
    "logprobs": {
        **_NUM_TOP,
        "description": "Tell how likely each token was, and so many of the likeliest there.",
    },
    "prompt_logprobs": {**_NUM_TOP, "description": "The same of the prompt's tokens."},
}

_NAME: Final[Mapping[str, Schema]] = {
    "id": COUNT,
    "token": STRING,
    "bytes": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}},
}

_TOP: Final[Schema] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {**_NAME, "logprob": NUMBER},
        "required": ["id", "token", "bytes", "logprob"],
    },
}

#: Both are there where they are asked for alone, in results and in chunks.
LOGPROB_OUTPUTS: Final[Mapping[str, Schema]] = {
    "logprobs": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {**_NAME, "logprob": NUMBER, "top_logprobs": _TOP, "offset": COUNT},
            "required": ["id", "token", "bytes", "logprob", "top_logprobs", "offset"],
        },
    },
    "prompt_logprobs": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                **_NAME,
                "logprob": {"type": ["number", "null"]},
                "top_logprobs": _TOP,
            },
            "required": ["id", "token", "bytes", "logprob", "top_logprobs"],
        },
    },
}
