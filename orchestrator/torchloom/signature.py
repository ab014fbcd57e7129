"""Signature: what a model, function or workflow takes and gives, in JSON Schema's words.

The checker, the OpenAPI documents and the docs read it. Knows no kind of model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


#: A JSON Schema (2020-12) for one value.
Schema = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Names and schemas of inputs, params and outputs.

    `required` inputs must be given; of each group in `one_of`, exactly one name must be given.
    `is_open` means that names beyond the listed ones are allowed (functions, modules), in and out.
    `is_raw`: what a form holds is given as it came, bytes, for the model reads it by itself.
    `chunks` is the schema of one streamed chunk, or None where nothing is streamed.
    """

    inputs: Mapping[str, Schema] = field(default_factory=dict)
    outputs: Mapping[str, Schema] = field(default_factory=dict)
    params: Mapping[str, Schema] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    one_of: tuple[frozenset[str], ...] = ()
    chunks: Schema | None = None
    is_open: bool = False
    is_raw: bool = False
