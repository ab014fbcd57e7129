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
    """The handler sees the inputs of all requests; each item that it gives is an output.

    An output has the name of the input in its place, and its values in one flat list.
    """

    def __init__(self, handle_fn: Any) -> None:
        super().__init__(handle_fn)
        self._ids: list[str] = []
        self._names: list[list[str]] = []

    def parse_input(self, data: Any) -> list[Any]:
        """Join the inputs: mappings of name, shape, datatype and data; of BYTES, the first."""
        documents = [document_of(row) for row in data]
        lists = [_inputs(each) for each in documents]
        self._ids = [
            str(each["id"]) if each.get("id") else self.context.get_request_id(index)
            for index, each in enumerate(documents)
        ]
        self._names = [[_name(entry) for entry in each] for each in lists]
        return [_first_text(entry) for each in lists for entry in each]

    def format_output(self, data: Any) -> list[dict[str, Any]]:
        """Give each request its own outputs again; one that is alone may have fewer than inputs."""
        count = sum(map(len, self._names))
        if len(data) > count or (len(data) < count and len(self._names) > 1):
            message = "number of batch response mismatched"
            raise PredictionException(message, 503)
        items = iter(data)
        return [
            self._answer(own, list(zip(names, items, strict=False)))
            for own, names in zip(self._ids, self._names, strict=True)
        ]

    def _answer(self, own: str, outputs: list[tuple[str, Any]]) -> dict[str, Any]:
        model = self.context.manifest.get("model", {})
        return {
            "id": own,
            "model_name": model.get("modelName"),
            "model_version": model.get("modelVersion"),
            "outputs": [_output(name, item) for name, item in outputs],
        }


def _inputs(document: dict[str, Any]) -> list[Any]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list):
        message = "The body must have a list of inputs."
        raise PredictionException(message, 400)
    return inputs


def _name(entry: Any) -> str:
    if not isinstance(entry, dict) or "name" not in entry:
        message = "Each of the inputs must be an object that has a name."
        raise PredictionException(message, 400)
    return str(entry["name"])


def _first_text(entry: dict[str, Any]) -> dict[str, Any]:
    data = entry.get("data")
    is_text = entry.get("datatype") == "BYTES" and isinstance(data, list) and bool(data)
    return {**entry, "data": data[0]} if is_text and isinstance(data, list) else entry


def _output(name: str, item: Any) -> dict[str, Any]:
    array = np.asarray(item).flatten()
    datatype = _DATATYPES.get(array.dtype.name, "BYTES")
    return {"name": name, "datatype": datatype, "data": array.tolist(), "shape": list(array.shape)}
