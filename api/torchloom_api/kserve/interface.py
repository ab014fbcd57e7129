"""Interface: a model's signature as named tensors. Knows no request.

A row, which is one entry of dimension 0, is a task of the model: it batches with everybody else's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import msgspec

from torchloom.deployment import Deployment
from torchloom.signature import Schema, Signature
from torchloom_api.kserve.datatype import BYTES, from_torch


#: What becomes of one row: text, bytes, a value that is written as JSON, numbers as JSON has them,
#: an array, or whatever a function likes best: a number, text, or an array.
Form = Literal["text", "bytes", "json", "plain", "array", "argument"]

#: The outputs that a model of a kind gives always: the first one is what clients of v1 are given.
_OUTPUTS: Final[Mapping[str, Sequence[str]]] = {
    "llm": ("text", "finish_reason", "usage"),
    "embedder": ("embedding", "usage"),
    "diffusion": ("image", "seed"),
    "index": ("documents",),
}

_SCALARS: Final[Mapping[object, str]] = {"integer": "INT64", "number": "FP32", "boolean": "BOOL"}


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor as it is told in metadata; -1 stands for any size."""

    name: str
    datatype: str
    shape: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One input or output of one row. `shape` is without the rows; None: not declared."""

    form: Form
    datatype: str | None = None
    shape: tuple[int, ...] | None = None


#: JSON text is what every value has that is no array.
JSON_FIELD: Final = Field(form="json", datatype=BYTES, shape=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """What a model takes and gives as tensors.

    Names that `inputs` lacks are of the form `other`, or are none of the model's (None). Where not
    `is_rowwise`, a request is one task, which gets its tensors whole. `main_inputs` and
    `main_outputs` are what metadata tells: what a client must send, and what it always gets.
    """

    is_rowwise: bool
    inputs: Mapping[str, Field]
    outputs: Mapping[str, Field]
    other: Form | None
    main_inputs: Sequence[str]
    main_outputs: Sequence[str]

    @classmethod
    def of(cls, deployment: Deployment) -> Interface:
        """Make the interface of a model."""
        if deployment.kind == "module":
            return _of_module(deployment)
        return _of_signature(deployment.kind, deployment.signature)

    @property
    def input_specs(self) -> list[TensorSpec]:
        """Tell the inputs, as far as they are declared."""
        return self._to_specs(self.main_inputs, self.inputs)

    @property
    def output_specs(self) -> list[TensorSpec]:
        """Tell the outputs, as far as they are known before there is an answer."""
        return self._to_specs(self.main_outputs, self.outputs)

    def _to_specs(self, names: Sequence[str], fields: Mapping[str, Field]) -> list[TensorSpec]:
        rows = (-1,) if self.is_rowwise else ()
        return [
            TensorSpec(name=name, datatype=field.datatype, shape=(*rows, *field.shape))
            for name, field in ((name, fields[name]) for name in names)
            if field.datatype is not None and field.shape is not None
        ]


def _of_module(deployment: Deployment) -> Interface:
    declared = cast("Mapping[str, Mapping[str, object]]", deployment.config.get("inputs", {}))
    inputs = {}
    for name, each in declared.items():
        sizes = cast("Sequence[int | None]", each["shape"])
        inputs[name] = Field(
            form="array",
            datatype=from_torch(str(each["dtype"])),
            shape=tuple(-1 if size is None else size for size in sizes),
        )
    return Interface(
        is_rowwise=deployment.config.get("batch_dim", 0) == 0,
        inputs=inputs,
        outputs={},
        other=None if inputs else "array",
        main_inputs=tuple(inputs),
        main_outputs=(),
    )


def _of_signature(kind: str, signature: Signature) -> Interface:
    inputs = {name: _to_field(schema) for name, schema in signature.inputs.items()}
    outputs = {name: _to_field(schema) for name, schema in signature.outputs.items() if schema}
    chosen = [min(group, key=lambda name: _effort(inputs[name])) for group in signature.one_of]
    main = {*signature.required, *chosen}
    return Interface(
        is_rowwise=True,
        inputs=inputs,
        outputs={} if signature.is_open else outputs,
        other="argument" if signature.is_open else None,
        main_inputs=[name for name in inputs if name in main],
        main_outputs=[name for name in _OUTPUTS.get(kind, ()) if name in outputs],
    )


def _effort(field: Field) -> tuple[bool, int]:
    """Tell how hard an input is to give: one text is the easiest, JSON the hardest."""
    return field.form == "json", len(field.shape or ())


def _to_field(schema: Schema) -> Field:
    kind = schema.get("type")
    if kind == "string":
        form: Form = "bytes" if schema.get("contentEncoding") == "base64" else "text"
        return Field(form=form, datatype=BYTES, shape=())
    if isinstance(kind, str) and kind in _SCALARS:
        return Field(form="plain", datatype=_SCALARS[kind], shape=())
    items = schema.get("items")
    if kind == "array" and isinstance(items, dict):
        inner = _to_field(items)
        if inner.form in ("text", "plain") and inner.shape is not None:
            return Field(form=inner.form, datatype=inner.datatype, shape=(-1, *inner.shape))
    return JSON_FIELD
