"""`ts.torch_handler.request_envelope.base`: what envelopes are made from."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torchloom_models.archive.prediction_exception import PredictionException


class BaseEnvelope(ABC):
    """Stands around a handler: reads what comes, and writes what it gives."""

    def __init__(self, handle_fn: Callable[[Any, Any], Any]) -> None:
        self._handle_fn = handle_fn
        self.context: Any = None

    def handle(self, data: Any, context: Any) -> Any:
        """Answer a batch; without data the handler is initialised."""
        self.context = context
        if data is None:
            return self._handle_fn(data, context)
        if context.get_request_header(0, "describe") == "True":
            return self._handle_fn(data, context)
        return self.format_output(self._handle_fn(self.parse_input(data), context))

    @abstractmethod
    def parse_input(self, data: Any) -> Any:
        """Give what the handler is to see."""

    @abstractmethod
    def format_output(self, data: Any) -> Any:
        """Give what the clients are to see."""


def payload_of(row: Any) -> Any:
    """Give the `data` or `body` of a row."""
    if not isinstance(row, Mapping):
        return row
    found = row.get("data")
    return row.get("body") if found is None else found


def document_of(row: Any) -> dict[str, Any]:
    """Give the JSON object of a row. Raises PredictionException 400 where there is none."""
    body = payload_of(row)
    if isinstance(body, str | bytes | bytearray):
        try:
            body = json.loads(body)
        except ValueError as error:
            message = f"The body is no JSON: {error}"
            raise PredictionException(message, 400) from error
    if not isinstance(body, dict):
        message = "The body must be a JSON object."
        raise PredictionException(message, 400)
    return body
