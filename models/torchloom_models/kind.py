"""Kind: what each kind of model takes and gives, and who opens it. Imports no framework.

The checker, the OpenAPI documents and the docs read this table; `spec.py` checks model files by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torchloom.byte_count import PATTERN
from torchloom.signature import Schema, Signature
from torchloom_models.archive.field import CHUNKS as HANDLER_CHUNKS
from torchloom_models.archive.field import FIELDS as HANDLER_FIELDS
from torchloom_models.archive.field import OUTPUTS as HANDLER_OUTPUTS
from torchloom_models.archive.field import PARAMS as HANDLER_PARAMS
from torchloom_models.archive.sequence_headers import sequence_paths
from torchloom_models.diffusion.field import CHUNKS, INPUTS, KNOBS, OUTPUTS
from torchloom_models.diffusion.field import FIELDS as DIFFUSION_FIELDS
from torchloom_models.group.plan import program_of
from torchloom_models.index.field import FIELDS as INDEX_FIELDS
from torchloom_models.llm.adapter.field import FIELDS as ADAPTER_FIELDS
from torchloom_models.llm.adapter.field import PARAMS as ADAPTER_PARAMS
from torchloom_models.llm.draft.field import SPECULATION
from torchloom_models.llm.grammar.form import STRUCTURED_OUTPUTS
from torchloom_models.llm.logprob.schema import LOGPROB_OUTPUTS, LOGPROB_PARAMS
from torchloom_models.llm.tool.format import FORMAT_NAMES
from torchloom_models.llm.tool.offer import CALLS, TOOL_INPUTS
from torchloom_models.schema import (
    BOOLEAN,
    COUNT,
    NUMBER,
    OBJECT,
    POSITIVE,
    STRING,
    STRINGS,
    VECTOR,
)


#: Gives, for a config, where in a task's params its session is named: see Deployment.
SessionPaths = Callable[[Mapping[str, object]], tuple[tuple[str, ...], ...]]

#: Gives, for a config, what a worker's process runs: see Deployment.
Program = Callable[[Mapping[str, object]], tuple[str, ...]]


def nothing(_config: Mapping[str, object]) -> tuple[()]:
    """Give nothing: requests of most kinds do not belong together; a worker is one process."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of model: its signature, its factory, and the keys of a model file that are its own.

    `fields` holds a schema for each key that only this kind knows; they arrive in the engine's
    config under their own names. `required_fields` must be written. `is_inline` is where its
    engines run unless the model file says `inline:` (which only kinds with `can_inline` may).
    `has_files`: its `source` is one of those that `source.py` knows. `can_compile`: its engines run
    what torch compiles, or OpenVINO. `is_on_cpu`: they run on no other device. `runs_code`: what
    its source holds is run, so that nothing is fetched for it because a request said so.
    `session_paths` tells where requests name what they belong to, `program` what workers run.
    """

    name: str
    summary: str
    factory: str
    signature: Signature
    fields: Mapping[str, Schema] = field(default_factory=dict)
    required_fields: frozenset[str] = frozenset()
    has_files: bool = True
    is_inline: bool = False
    can_inline: bool = False
    can_compile: bool = True
    is_on_cpu: bool = False
    runs_code: bool = False
    session_paths: SessionPaths = nothing
    program: Program = nothing


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

_LLM_PARAMS: Mapping[str, Schema] = {
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
}

_LLM = Kind(
    name="llm",
    summary="A causal language model that writes text, token by token.",
    factory="torchloom_models.llm.opening:open_engine",
    signature=Signature(
        inputs={
            "prompt": {"type": "string", "minLength": 1},
            "messages": {"type": "array", "items": _MESSAGE, "minItems": 1},
            **TOOL_INPUTS,
        },
        one_of=(frozenset({"prompt", "messages"}),),
        params={**_LLM_PARAMS, **ADAPTER_PARAMS},
        outputs={
            "text": STRING,
            "finish_reason": {"type": "string", "enum": ["stop", "length", "tool_calls"]},
            "tool_calls": {**CALLS, "description": "Where there were tools: what is to be called."},
            "usage": _USAGE,
            **LOGPROB_OUTPUTS,
        },
        chunks={
            "type": "object",
            "properties": {
                "text": STRING,
                "tool_calls": {"type": "array", "items": OBJECT},
                **LOGPROB_OUTPUTS,
            },
        },
    ),
    fields={
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
    },
    required_fields=frozenset({"source"}),
)

_DIFFUSION = Kind(
    name="diffusion",
    summary="A diffusion pipeline that draws pictures from prompts.",
    factory="torchloom_models.diffusion.opening:open_engine",
    signature=Signature(
        inputs=INPUTS,
        required=frozenset({"prompt"}),
        params=KNOBS,
        outputs=OUTPUTS,
        chunks=CHUNKS,
    ),
    fields=DIFFUSION_FIELDS,
    required_fields=frozenset({"source"}),
)

_EMBEDDER = Kind(
    name="embedder",
    summary="A text encoder that turns texts into vectors.",
    factory="torchloom_models.embedder:open_embedder",
    signature=Signature(
        inputs={"text": STRING, "texts": STRINGS},
        one_of=(frozenset({"text", "texts"}),),
        params={
            "truncate": {
                **BOOLEAN,
                "default": True,
                "description": "Cut texts that are too long; false refuses them.",
            },
            "prompt_name": {
                **STRING,
                "description": "Which of the model's own prompts goes before each text.",
            },
        },
        outputs={
            "embedding": VECTOR,
            "embeddings": {"type": "array", "items": VECTOR},
            "usage": {
                "type": "object",
                "properties": {"prompt": COUNT},
                "required": ["prompt"],
                "description": "The tokens of its texts, special ones included.",
            },
        },
    ),
    fields={
        "max_length": {**POSITIVE, "description": "The longest text, in tokens."},
        "max_batch_tokens": {**POSITIVE, "description": "The most tokens in one forward pass."},
        "pooling": {"type": "string", "enum": ["mean", "cls", "last", "max"]},
        "normalize": {**BOOLEAN, "description": "Scale each vector to length 1."},
    },
    required_fields=frozenset({"source"}),
)

_INDEX = Kind(
    name="index",
    summary="A vector index that finds the documents nearest to a question.",
    factory="torchloom_models.index.engine:open_index",
    signature=Signature(
        inputs={
            "vector": VECTOR,
            "top_k": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 4},
            "filter": {
                **OBJECT,
                "description": "Metadata field → value, or field → {operator: value}.",
            },
        },
        required=frozenset({"vector"}),
        outputs={
            "documents": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": STRING,
                        "text": STRING,
                        "score": NUMBER,
                        "metadata": OBJECT,
                    },
                    "required": ["id", "text", "score", "metadata"],
                },
            }
        },
    ),
    fields=INDEX_FIELDS,
    required_fields=frozenset({"source"}),
    has_files=False,
    is_inline=True,
    can_inline=True,
    can_compile=False,
    is_on_cpu=True,
)

_MODULE = Kind(
    name="module",
    summary="Any torch.nn.Module, or a program that torch.export saved.",
    factory="torchloom_models.module:open_module",
    signature=Signature(is_open=True),
    fields={
        "class": {**STRING, "description": "`package.module:Class`, in an allowed module."},
        "arguments": {**OBJECT, "description": "Keyword arguments of the class."},
        "inputs": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "shape": {
                        "type": "array",
                        "items": {"oneOf": [POSITIVE, {"type": "null"}]},
                    },
                    "dtype": STRING,
                },
                "required": ["shape", "dtype"],
                "additionalProperties": False,
            },
            "description": "Shape of one item (null where it varies) and dtype, by input name.",
        },
        "outputs": {**STRINGS, "minItems": 1, "description": "Names for what forward returns."},
        "batch_dim": {
            "oneOf": [{"type": "integer", "const": 0}, {"type": "null"}],
            "default": 0,
            "description": "0: tasks are stacked along dimension 0. null: one task at a time.",
        },
    },
)

_FUNCTION = Kind(
    name="function",
    summary="A Python function of an allowed module; a generator streams what it yields.",
    factory="torchloom_models.function:open_function",
    signature=Signature(
        is_open=True,
        outputs={"value": {}, "items": {"type": "array"}},
        chunks={"type": "object", "properties": {"data": {}}},
    ),
    fields={"function": {**STRING, "description": "`package.module:name`."}},
    required_fields=frozenset({"function"}),
    can_inline=True,
    can_compile=False,
    is_on_cpu=True,
)

_HANDLER = Kind(
    name="handler",
    summary="An archive of TorchServe, whose handler is called with batches of requests.",
    factory="torchloom_models.archive.opening:open_handler",
    signature=Signature(
        is_open=True,
        is_raw=True,
        params=HANDLER_PARAMS,
        outputs=HANDLER_OUTPUTS,
        chunks=HANDLER_CHUNKS,
    ),
    fields=HANDLER_FIELDS,
    required_fields=frozenset({"source"}),
    can_compile=False,
    runs_code=True,
    session_paths=sequence_paths,
    program=program_of,
)

#: Every kind that this package serves, by name.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (_LLM, _DIFFUSION, _EMBEDDER, _INDEX, _MODULE, _FUNCTION, _HANDLER)
    }
)
