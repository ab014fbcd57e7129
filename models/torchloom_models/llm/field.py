"""What the kind `llm` takes and gives, in JSON Schema's words. Imports no framework."""

from __future__ import annotations

from collections.abc import Mapping

from torchloom.byte_count import PATTERN
from torchloom.signature import Schema
from torchloom_models.llm.adapter.field import FIELDS as ADAPTER_FIELDS
from torchloom_models.llm.adapter.field import PARAMS as ADAPTER_PARAMS
from torchloom_models.llm.draft.field import SPECULATION
from torchloom_models.llm.grammar.form import STRUCTURED_OUTPUTS
from torchloom_models.llm.logprob.schema import LOGPROB_OUTPUTS, LOGPROB_PARAMS
from torchloom_models.llm.tool.format import FORMAT_NAMES
from torchloom_models.llm.tool.offer import CALLS, TOOL_INPUTS
from torchloom_models.schema import BOOLEAN, COUNT, OBJECT, POSITIVE, STRING


_USAGE: Schema = {
    "type": "object",
    "properties": {"prompt": COUNT, "cached": COUNT, "completion": COUNT},
    "required": ["prompt", "cached", "completion"],
}

_MESSAGE: Schema = {
    "type": "object",
    "properties": {
        "role": {"type": "string", "enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {"type": ["string", "null"]},
        "tool_calls": {**CALLS, "description": "What the assistant has called."},
        "tool_call_id": {**STRING, "description": "Which call a tool answers."},
    },
    "required": ["role"],
}

INPUTS: Mapping[str, Schema] = {
    "prompt": {"type": "string", "minLength": 1},
    "messages": {"type": "array", "items": _MESSAGE, "minItems": 1},
    **TOOL_INPUTS,
}

PARAMS: Mapping[str, Schema] = {
    "max_tokens": {
        **COUNT,
        "description": "The most tokens to write; left out, as many as the context has room for.",
    },
    "min_tokens": {**COUNT, "default": 0, "description": "No end and no stop before this many."},
    "temperature": {
        "type": "number",
        "minimum": 0,
        "maximum": 100,
        "description": "0 takes the likeliest token each time.",
    },
    "top_k": {**COUNT, "description": "Draw from the k likeliest tokens; 0 means from all."},
    "top_p": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "Draw from the likeliest tokens that together reach this probability.",
    },
    "min_p": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "Leave out tokens less likely than this share of the likeliest one's.",
    },
    "repetition_penalty": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Over 1 makes tokens of the prompt and the answer less likely; 1 is off.",
    },
    "presence_penalty": {
        "type": "number",
        "minimum": -2,
        "maximum": 2,
        "default": 0,
        "description": "Taken from the logit of every token that the answer holds.",
    },
    "frequency_penalty": {
        "type": "number",
        "minimum": -2,
        "maximum": 2,
        "default": 0,
        "description": "Taken from the logit of a token once for each time the answer holds it.",
    },
    "logit_bias": {
        "type": "object",
        "propertyNames": {"pattern": "^[0-9]+$"},
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
        "default": {},
        "description": "Added to logits, by token id.",
    },
    "seed": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2**63 - 1,
        "description": "The same seed, prompt and parameters give the same answer.",
    },
    "stop": {
        "oneOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 16},
        ],
        "default": [],
        "description": "The answer ends before the first of these strings.",
    },
    "ignore_eos": {**BOOLEAN, "default": False, "description": "Go on past the end token."},
    "structured_outputs": STRUCTURED_OUTPUTS,
    **LOGPROB_PARAMS,
    **ADAPTER_PARAMS,
}

OUTPUTS: Mapping[str, Schema] = {
    "text": STRING,
    "finish_reason": {"type": "string", "enum": ["stop", "length", "tool_calls"]},
    "tool_calls": {**CALLS, "description": "Where there were tools: what is to be called."},
    "usage": _USAGE,
    **LOGPROB_OUTPUTS,
}

#: What a stream sends.
CHUNKS: Schema = {
    "type": "object",
    "properties": {
        "text": STRING,
        "tool_calls": {"type": "array", "items": OBJECT},
        **LOGPROB_OUTPUTS,
    },
}

#: Keys of model files that are its own.
FIELDS: Mapping[str, Schema] = {
    "max_sequences": {**POSITIVE, "description": "How many sequences it holds at once."},
    "max_length": {**POSITIVE, "description": "The longest sequence, prompt and answer."},
    "kv_cache": {
        "type": "object",
        "properties": {
            "tokens": POSITIVE,
            "memory": {
                "type": ["string", "integer"],
                "minimum": 1,
                "pattern": PATTERN,
                "$comment": "Write a number of bytes, or an amount such as 2GiB or 500MB.",
            },
        },
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "description": "How much all sequences together may hold: {tokens: N} or {memory: M}.",
    },
    "prefix_cache": {
        **BOOLEAN,
        "default": True,
        "description": "Sequences that begin alike share what they hold, also after their end.",
    },
    "speculation": SPECULATION,
    "tool_format": {
        "type": "string",
        "enum": list(FORMAT_NAMES),
        "description": "How the model writes calls; left out, as its chat template shows.",
    },
    "chat_template": {**STRING, "description": "Jinja; takes the place of the tokenizer's."},
    **ADAPTER_FIELDS,
}
