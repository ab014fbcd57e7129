"""Weights of few bits: an OpenVINO model whose large constants NNCF has compressed.

The numbers that flow between layers stay as they are; within a product OpenVINO may round them to
8 bits, in groups. What is lost is measured by each kind; nothing is where float32 weights go into
16 bits as they are.
"""

from __future__ import annotations

import logging
import math
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from torchloom_models.backend import WeightFormat
from torchloom_models.compiler import CompileFailed, first_lines
from torchloom_models.openvino_device import core, keep_to_itself


if TYPE_CHECKING:
    import openvino

#: Weights of fewer numbers stay as they are.
_LEAST_NARROWED = 2**16

#: The bits that float32 has beyond bfloat16.
_BEYOND = 2**16 - 1

#: From Python a node can be marked as one that widens weights, which OpenVINO then does not carry
#: out beforehand, only by reading it.
_WIDENING = b"""<?xml version="1.0"?>
<net name="widening" version="11">
  <layers>
    <layer id="0" name="narrow" type="Parameter" version="opset1">
      <data shape="?" element_type="bf16"/>
      <output><port id="0" precision="BF16"><dim>-1</dim></port></output>
    </layer>
    <layer id="1" name="wide" type="Convert" version="opset1">
      <data destination_type="f32"/>
      <rt_info><attribute name="decompression" version="0"/></rt_info>
      <input><port id="0" precision="BF16"><dim>-1</dim></port></input>
      <output><port id="1" precision="FP32"><dim>-1</dim></port></output>
    </layer>
    <layer id="2" name="result" type="Result" version="opset1">
      <input><port id="0" precision="FP32"><dim>-1</dim></port></input>
    </layer>
  </layers>
  <edges>
    <edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
    <edge from-layer="1" from-port="1" to-layer="2" to-port="0"/>
  </edges>
</net>"""

#: So many int4 weights share a scale and a zero point; fewer where a row is no multiple of it.
_GROUP_SIZE = 64


def compressed(model: openvino.Model, weights: WeightFormat) -> openvino.Model:
    """Give the model with weights of 8 or 4 bits. Raises CompileFailed.

    With int4, embeddings and the last layer have 8 bits: they take few of the operations, and most
    of the loss would be theirs.
    """
    if find_spec("nncf") is None:
        message = f"{weights} weights need the package nncf: pip install 'torchloom[openvino]'"
        raise CompileFailed(message)
    keep_to_itself()
    import nncf  # noqa: PLC0415 - takes more than a second, and only this needs it

    logging.getLogger("nncf").setLevel(logging.WARNING)
    try:
        if weights == "int8":
            found = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
        else:
            adjust = nncf.GroupSizeFallbackMode.ADJUST
            found = nncf.compress_weights(
                model,
                mode=nncf.CompressWeightsMode.INT4_ASYM,
                group_size=_GROUP_SIZE,
                advanced_parameters=nncf.AdvancedCompressionParameters(
                    group_size_fallback_mode=adjust
                ),
            )
    except (RuntimeError, ValueError, nncf.errors.NncfError) as error:
        raise CompileFailed(f"NNCF does not compress it: {first_lines(error)}") from error
    _multiply_wide(found)
    return found


def _multiply_wide(model: openvino.Model) -> None:
    """Write products of bfloat16 with compressed weights as products of float32.

    OpenVINO 2026.4 reads compressed weights as they are kept only where a product is written so:
    of one in bfloat16 it makes whole weights as it compiles, and nothing is gained. They are
    carried out in bfloat16 all the same, as INFERENCE_PRECISION_HINT says.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul" and _is_narrowed(node.input_value(1).get_node()):
            _write_wide(node)
    model.validate_nodes_and_infer_types()


def _is_narrowed(node: openvino.Node) -> bool:
    """Tell whether this makes bfloat16 of the weights that NNCF's operations have widened."""
    if node.get_type_name() != "Convert" or node.get_element_type().to_string() != "bf16":
        return False
    return bool(node.input_value(0).get_node().get_type_name() in {"Multiply", "Reshape"})


def _write_wide(product: openvino.Node) -> None:
    from openvino import opset13  # noqa: PLC0415 - whoever has a model of it has imported it

    readers = product.output(0).get_target_inputs()
    weights = product.input_value(1).get_node().input_value(0)
    wide = opset13.matmul(
        opset13.convert(product.input_value(0), "f32"),
        opset13.convert(weights, "f32"),
        **product.get_attributes(),
    )
    narrow = opset13.convert(wide, "bf16")
    for reader in readers:
        reader.replace_source_output(narrow.output(0))


def narrow(model: openvino.Model) -> None:
    """Keep float32 weights in 16 bits where bfloat16 holds each exactly, as it was in a checkpoint.

    Widened as they are read, they take half the time to come from memory, and nothing is lost. It
    pays where there are few numbers to multiply them with.
    """
    for node in model.get_ops():
        shape = list(node.get_output_shape(0)) if node.get_type_name() == "Constant" else []
        is_weight = len(shape) > 1 and math.prod(shape) >= _LEAST_NARROWED
        if is_weight and node.get_element_type().to_string() == "f32":
            _narrow_weight(node, shape)
    model.validate_nodes_and_infer_types()


def _narrow_weight(node: openvino.op.Constant, shape: list[int]) -> None:
    import openvino  # noqa: PLC0415 - whoever has a model of it has imported it

    bits = node.data.view(np.uint32)
    if (bits & _BEYOND).any():
        return
    high = np.right_shift(bits, 16).astype(np.uint16).view(np.int16)
    lent = openvino.Tensor(high, openvino.Shape(shape), openvino.Type.bf16)
    narrow = openvino.op.Constant(lent, shared_memory=False)
    readers = node.output(0).get_target_inputs()
    widening = core().read_model(_WIDENING)
    (wide,) = (each for each in widening.get_ops() if each.get_type_name() == "Convert")
    wide.input(0).replace_source_output(narrow.output(0))
    for reader in readers:
        reader.replace_source_output(wide.output(0))
