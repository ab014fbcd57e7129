"""`ts.torch_handler.request_envelope.json`: `instances` in, `predictions` out."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from torchloom_models.archive.prediction_exception import PredictionException
from torchloom_models.archive.ts.torch_handler.request_envelope.base import (
    BaseEnvelope,
    document_of,
)


class JSONEnvelope(BaseEnvelope):
    """The handler sees the instances of all requests as one list."""

    def __init__(self, handle_fn: Any) -> None:
        super().__init__(handle_fn)
        self._sizes: list[int] = []

    def parse_input(self, data: Any) -> list[Any]:
        """Join the instances; what is base64 becomes bytes."""
        lists = [self._instances(row) for row in data]
        self._sizes = [len(each) for each in lists]
        return [_decode(instance) for each in lists for instance in each]

    def format_output(self, data: Any) -> list[dict[str, Any]]:
        """Give each request its own predictions again."""
        name, start, answers = self._key(), 0, []
        if len(data) != sum(self._sizes):
            message = "number of batch response mismatched"
            raise PredictionException(message, 503)
        for size in self._sizes:
            answers.append({name: list(data[start : start + size])})
            start += size
        return answers

    def _key(self) -> str:
        return "predictions"

    def _instances(self, row: Any) -> list[Any]:
        instances = document_of(row).get("instances")
        if not isinstance(instances, list):
            message = "The body must have a list of instances."
            raise PredictionException(message, 400)
        return instances


def _decode(instance: Any) -> Any:
    if not isinstance(instance, Mapping):
        return instance
    if set(instance) == {"b64"}:
        return base64.b64decode(instance["b64"])
    return {name: _decode(value) for name, value in instance.items()}
