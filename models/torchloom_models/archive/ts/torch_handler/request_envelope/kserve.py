"""`ts.torch_handler.request_envelope.kserve`: the first protocol of KServe."""

from __future__ import annotations

from torchloom_models.archive.ts.torch_handler.request_envelope.json import JSONEnvelope


class KServeEnvelope(JSONEnvelope):
    """`instances` in, `predictions` or `explanations` out."""

    def _key(self) -> str:
        is_explain = self.context.get_request_header(0, "explain") == "True"
        return "explanations" if is_explain else "predictions"
