"""`ts.torch_handler.request_envelope.json`: `instances` in, `predictions` out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from torchloom_models.archive.prediction_exception import PredictionException
from torchloom_models.archive.ts.torch_handler.request_envelope.base import (
    BaseEnvelope,
    document_of,
)


class JSONEnvelope(BaseEnvelope):
    """The handler sees the instances of all requests as one list. Answers are text, on one line."""

    def __init__(self, handle_fn: Any) -> None:
        super().__init__(handle_fn)
        self._sizes: list[int] = []

    def parse_input(self, data: Any) -> list[Any]:
        """Join the instances; what is base64 becomes bytes."""
        return [_decode(instance) for instance in self._join(data)]

    def format_output(self, data: Any) -> list[Any]:
        """Give each request its own predictions again."""
        return [json.dumps({"predictions": own}) for own in self._split(data)]

    def _join(self, data: Any) -> list[Any]:
        lists = [_instances(row) for row in data]
        self._sizes = [len(each) for each in lists]
        return [instance for each in lists for instance in each]

    def _split(self, data: Any) -> list[Any]:
        """Give each request what is its own; one that is alone gets all, however much that is."""
        if len(self._sizes) == 1:
            return [data]
        if len(data) != sum(self._sizes):
            message = "number of batch response mismatched"
            raise PredictionException(message, 503)
        ends = [sum(self._sizes[: index + 1]) for index in range(len(self._sizes))]
        return [list(data[end - size : end]) for end, size in zip(ends, self._sizes, strict=True)]


def _instances(row: Any) -> list[Any]:
    instances = document_of(row).get("instances")
    if not isinstance(instances, list):
        message = "The body must have a list of instances."
        raise PredictionException(message, 400)
    return instances


def _decode(instance: Any) -> Any:
    """Make bytes of an instance, or of those of its values, that are written `{"b64": …}`."""
    if _is_base64(instance):
        return base64.b64decode(instance["b64"])
    if not isinstance(instance, Mapping):
        return instance
    return {
        name: base64.b64decode(value["b64"]) if _is_base64(value) else value
        for name, value in instance.items()
    }


def _is_base64(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"b64"}
