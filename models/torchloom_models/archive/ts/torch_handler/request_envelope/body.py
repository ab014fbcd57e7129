"""`ts.torch_handler.request_envelope.body`."""

from __future__ import annotations

from typing import Any

from torchloom_models.archive.ts.torch_handler.request_envelope.base import BaseEnvelope, payload_of


class BodyEnvelope(BaseEnvelope):
    """The handler sees the `data` or `body` of each row alone."""

    def parse_input(self, data: Any) -> list[Any]:
        """Unwrap each row."""
        return [payload_of(row) for row in data]

    def format_output(self, data: Any) -> Any:
        """Leave it as it is."""
        return data
