"""Signatures as named tensors."""

from __future__ import annotations

from torchloom.deployment import Deployment
from torchloom.signature import Signature
from torchloom_api.kserve.interface import Interface, TensorSpec
from torchloom_models.kind import KINDS


def _of(kind: str, **config: object) -> Interface:
    signature = KINDS[kind].signature
    return Interface.of(
        Deployment(name="m", kind=kind, factory="f", signature=signature, config=config)
    )


def test_lists_what_a_client_must_send() -> None:
    """The required inputs, and of alternatives the easiest; the outputs that are always there."""
    shown = {
        kind: ([s.name for s in _of(kind).input_specs], [s.name for s in _of(kind).output_specs])
        for kind in ("llm", "embedder", "diffusion", "index")
    }
    assert shown == {
        "llm": (["prompt"], ["text", "finish_reason", "usage"]),
        "embedder": (["text"], ["embedding", "usage"]),
        "diffusion": (["prompt"], ["image", "seed"]),
        "index": (["vector"], ["documents"]),
    }


def test_types_rows_by_their_schemas() -> None:
    """The first dimension counts the rows; what is neither number nor text is JSON."""
    assert _of("embedder").output_specs == [
        TensorSpec(name="embedding", datatype="FP32", shape=(-1, -1)),
        TensorSpec(name="usage", datatype="BYTES", shape=(-1,)),
    ]
    forms = {name: field.form for name, field in _of("llm").inputs.items()}
    assert (forms["prompt"], forms["messages"]) == ("text", "json")
    assert _of("diffusion").inputs["image"].form == "bytes"
    assert _of("index").inputs["top_k"].datatype == "INT64"
    texts = {"type": "array", "items": {"type": "string"}}
    nested = {"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}}
    maybe = {"type": ["string", "null"]}
    signature = Signature(inputs={"texts": texts, "flags": nested, "maybe": maybe})
    inputs = Interface.of(
        Deployment(name="m", kind="test", factory="f", signature=signature)
    ).inputs
    assert inputs["maybe"].form == "json"
    assert (inputs["texts"].datatype, inputs["texts"].shape) == ("BYTES", (-1,))
    assert (inputs["flags"].datatype, inputs["flags"].shape) == ("BOOL", (-1, -1))


def test_reads_what_a_module_declares() -> None:
    """Shapes of one item get the rows in front; null is any size; unknown dtypes are left out."""
    inputs = {
        "x": {"shape": [3, None], "dtype": "float32"},
        "z": {"shape": [], "dtype": "complex64"},
    }
    module = _of("module", inputs=inputs)
    whole = _of("module", inputs=inputs, batch_dim=None)

    assert module.input_specs == [TensorSpec(name="x", datatype="FP32", shape=(-1, 3, -1))]
    assert whole.input_specs == [TensorSpec(name="x", datatype="FP32", shape=(3, -1))]
    assert (module.is_rowwise, whole.is_rowwise) == (True, False)
    assert (module.other, _of("module").other) == (None, "array")


def test_knows_nothing_of_a_function() -> None:
    """Its arguments are what they are."""
    function = _of("function")
    assert (function.input_specs, function.output_specs, function.other) == ([], [], "argument")
