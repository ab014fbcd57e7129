"""`ts.torch_handler.request_envelope.kserve`: the first protocol of KServe."""

from __future__ import annotations

from typing import Any

from torchloom_models.archive.ts.torch_handler.request_envelope.json import JSONEnvelope


class KServeEnvelope(JSONEnvelope):
    """`instances` in, as they are; `predictions` or `explanations` out."""

    def parse_input(self, data: Any) -> list[Any]:
        """Join the instances. What is base64 stays so: handlers of KServe decode it themselves."""
        return self._join(data)

    def format_output(self, data: Any) -> list[Any]:
        """Give each request its own answers again."""
        is_explain = self.context.get_request_header(0, "explain") == "True"
        key = "explanations" if is_explain else "predictions"
        return [{key: own} for own in self._split(data)]
