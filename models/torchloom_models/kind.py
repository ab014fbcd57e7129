"""Kind: what each kind of model takes and gives, and who opens it. Imports no framework.

The checker, the OpenAPI documents and the docs read this table; `spec.py` checks model files by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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
from torchloom_models.llm.field import CHUNKS as LLM_CHUNKS
from torchloom_models.llm.field import FIELDS as LLM_FIELDS
from torchloom_models.llm.field import INPUTS as LLM_INPUTS
from torchloom_models.llm.field import OUTPUTS as LLM_OUTPUTS
from torchloom_models.llm.field import PARAMS as LLM_PARAMS
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


_LLM = Kind(
    name="llm",
    summary="A causal language model that writes text, token by token.",
    factory="torchloom_models.llm.opening:open_engine",
    signature=Signature(
        inputs=LLM_INPUTS,
        one_of=(frozenset({"prompt", "messages"}),),
        params=LLM_PARAMS,
        outputs=LLM_OUTPUTS,
        chunks=LLM_CHUNKS,
    ),
    fields=LLM_FIELDS,
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
