"""Weights of few bits: an OpenVINO model whose large constants NNCF has compressed.

The numbers that flow between layers stay as they are. What is lost is measured by each kind.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING

from torchloom_models.backend import WeightFormat
from torchloom_models.compiler import CompileFailed, first_lines
from torchloom_models.openvino_device import keep_to_itself


if TYPE_CHECKING:
    import openvino

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
            return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
        adjust = nncf.GroupSizeFallbackMode.ADJUST
        return nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT4_ASYM,
            group_size=_GROUP_SIZE,
            advanced_parameters=nncf.AdvancedCompressionParameters(group_size_fallback_mode=adjust),
        )
    except (RuntimeError, ValueError, nncf.errors.NncfError) as error:
        raise CompileFailed(f"NNCF does not compress it: {first_lines(error)}") from error
