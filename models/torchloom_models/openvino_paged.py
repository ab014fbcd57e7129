"""OpenVINO's kernel for attention over a cache in pages, in place of torch's operation.

OpenVINO writes its node for it to a file, but does not read it back. A stand-in is what is kept;
the node takes its place when the file is read. Imported only where OpenVINO is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import openvino
from openvino.frontend import NodeContext
from openvino.frontend.pytorch import ConversionExtension
from openvino.op import Constant, _PagedAttentionExtension

from torchloom_models.openvino_device import core
from torchloom_models.paged_attention import OPERATION


#: How many inputs torch's operation has, and where those are that its node has elsewhere.
_NUM_INPUTS, _LONGEST, _SCALE, _WINDOW = 12, 9, 10, 11


class PagedAttentionPlace(openvino.Op):  # type: ignore[misc]  # typed as Any
    """Stands in files where attention will be, with the inputs of torch's operation."""

    def __init__(self, inputs: Sequence[openvino.Output] | None = None) -> None:
        super().__init__(self)
        if inputs is not None:
            self.set_arguments(inputs)
            self.constructor_validate_and_infer_types()

    def validate_and_infer_types(self) -> None:
        """Give [tokens, heads · dim of values], in the type of the query."""
        query = self.get_input_partial_shape(0)
        key_dim, value_dim = (self.get_input_partial_shape(place)[3] for place in (3, 4))
        width = query[1]
        if key_dim.is_static and value_dim.is_static and width.is_static:
            width = openvino.Dimension(
                width.get_length() // key_dim.get_length() * value_dim.get_length()
            )
        self.set_output_type(
            0, self.get_input_element_type(0), openvino.PartialShape([query[0], width])
        )

    def clone_with_new_inputs(self, new_inputs: Sequence[openvino.Output]) -> PagedAttentionPlace:
        """Give another of the same kind."""
        return PagedAttentionPlace(new_inputs)


def extensions() -> list[ConversionExtension]:
    """Give what conversion needs to know of torch's operation."""
    return [ConversionExtension(OPERATION, _convert)]


def is_paged(model: openvino.Model) -> bool:
    """Say whether a model has attention over pages, as it is kept."""
    return bool(_stand_ins(model))


def read_model(path: Path) -> tuple[openvino.Model, bool]:
    """Read a kept model; say whether there is attention over pages in it, now OpenVINO's own."""
    runtime = core()
    _make_known(runtime)
    model = runtime.read_model(path)
    stand_ins = _stand_ins(model)
    for node in stand_ins:
        node.output(0).replace(_kernel(node.input_values()).output(0))
    model.validate_nodes_and_infer_types()
    return model, bool(stand_ins)


def _stand_ins(model: openvino.Model) -> list[openvino.Node]:
    name = PagedAttentionPlace.__name__
    return [node for node in model.get_ops() if node.get_type_name() == name]


@cache
def _make_known(runtime: openvino.Core) -> None:
    runtime.add_extension(PagedAttentionPlace)


def _convert(node: NodeContext) -> list[openvino.Output]:
    stand_in = PagedAttentionPlace([node.get_input(place) for place in range(_NUM_INPUTS)])
    return [stand_in.output(0)]


def _kernel(inputs: Sequence[openvino.Output]) -> openvino.Node:
    """Make OpenVINO's node, whose many other inputs are switched off."""
    scale, window = (inputs[place].get_node() for place in (_SCALE, _WINDOW))
    integer, real = np.int32, np.float32
    none, no_reals = _constant([], integer), _constant([], real)
    zero = _constant(0, integer)
    kernel = _PagedAttentionExtension(
        [
            *inputs[:_LONGEST],
            _constant(scale.get_vector()[0], real),
            _constant(window.get_vector()[0], integer),
            no_reals,  # slopes of ALiBi
            inputs[_LONGEST],
            none,  # of which tokens scores are wanted
            *(none, none, no_reals),  # keys that are turned to other positions
            *(no_reals, zero, zero),  # blocks that may be skipped
            no_reals,  # sinks
            *(zero, none, none, none),  # blocks that may be evicted
            none,  # kinds of tokens
            *(_constant([], np.uint8), none),  # a mask between queries
        ]
    )
    info = kernel.get_rt_info()
    for name, cache_of in (("k", inputs[3]), ("v", inputs[4])):
        shape = cache_of.get_partial_shape()
        info[f"num_{name}_heads"] = shape[1].get_length()
        info[f"{name}_head_size"] = shape[3].get_length()
    return kernel


def _constant(value: object, dtype: type[np.generic]) -> openvino.Output:
    return Constant(np.array(value, dtype=dtype)).output(0)
