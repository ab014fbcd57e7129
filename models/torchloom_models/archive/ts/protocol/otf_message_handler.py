"""`ts.protocol.otf_message_handler`: of it, what handlers import."""

from __future__ import annotations

from torchloom_models.archive.intermediate import send_intermediate_predict_response


__all__ = ["send_intermediate_predict_response"]
