"""`ts.torch_handler.request_envelope.kservev2`: the second protocol of KServe."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from torchloom_models.archive.prediction_exception import PredictionException
from torchloom_models.archive.ts.torch_handler.request_envelope.base import (
    BaseEnvelope,
    document_of,
)


#: The protocol's names of numpy's types.
_DATATYPES: Final = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}


class KServev2Envelope(BaseEnvelope):
    """The handler sees the inputs of all requests; each item that it gives is an output."""

    def __init__(self, handle_fn: Any) -> None:
        super().__init__(handle_fn)
        self._ids: list[str] = []
        self._sizes: list[int] = []

    def parse_input(self, data: Any) -> list[Any]:
        """Join the inputs: mappings of name, shape, datatype and data."""
        documents = [document_of(row) for row in data]
        lists = [_inputs(each) for each in documents]
        self._ids = [
            str(each["id"]) if "id" in each else self.context.get_request_id(index)
            for index, each in enumerate(documents)
        ]
        self._sizes = [len(each) for each in lists]
        return [entry for each in lists for entry in each]

    def format_output(self, data: Any) -> list[dict[str, Any]]:
        """Give each request its own outputs again."""
        if len(data) != sum(self._sizes):
            message = "number of batch response mismatched"
            raise PredictionException(message, 503)
        model = self.context.manifest.get("model", {})
        name = "explain" if self.context.get_request_header(0, "explain") == "True" else "predict"
        start, answers = 0, []
        for own, size in zip(self._ids, self._sizes, strict=True):
            answers.append(
                {
                    "id": own,
                    "model_name": model.get("modelName"),
                    "model_version": model.get("modelVersion"),
                    "outputs": [_output(name, each) for each in data[start : start + size]],
                }
            )
            start += size
        return answers


def _inputs(document: dict[str, Any]) -> list[Any]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list):
        message = "The body must have a list of inputs."
        raise PredictionException(message, 400)
    return inputs


def _output(name: str, item: Any) -> dict[str, Any]:
    array = np.asarray(item)
    datatype = _DATATYPES.get(array.dtype.name, "BYTES")
    data = item if datatype == "BYTES" else array.tolist()
    shape = list(array.shape) or [1]
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}
